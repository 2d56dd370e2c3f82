import json
from dataclasses import replace

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.evaluation.calibration_report import calibrate, measured_reliability
from fcis.evaluation.operating import best_thresholds
from fcis.evaluation.records import MIN_SCORE
from fcis.evaluation.report import evaluate


@pytest.fixture(scope="module")
def squares(make):
    """A grid of squares in thirty images, found or missed by their corner, with boastful scores."""
    rng = np.random.default_rng(8)
    instances, found = [], []
    for image_id in range(1, 31):
        for x in range(0, 60, 10):
            for y in range(0, 40, 10):
                category = int(rng.integers(1, 3))
                instances.append((image_id, category, make.rectangle(x, y, 8, 8)))
                chance = rng.uniform(0.05, 0.97)
                shift = 0 if rng.random() < chance else 4  # IoU 1 or 1/7
                score = np.float32(1 / (1 + (1 / chance - 1) ** 2.0 * np.exp(-0.5)))
                place = {"image_id": image_id, "category_id": category}
                mask = make.rectangle(x + shift, y + shift, 8, 8)
                found.append(make.detection(mask, **place, score=float(score)))
    return make.dataset(instances, num_images=30, categories=(1, 2, 3)), found


def calibrated(found, calibration):
    scores = calibration.apply(np.array([d["score"] for d in found], dtype=np.float32))
    return [d | {"score": float(s)} for d, s in zip(found, scores, strict=True)]


def run(squares, **values):
    usual = {"max_detections": 100, "calibration": None, "thresholds": {1: 0.9, 2: 0.2}}
    return calibrate(*squares, **(usual | values))


def slow_f1(truth, found, category, threshold):
    """F1 of the squares: a detection is right if it is one of them."""
    squares = {
        (a["image_id"], *a["bbox"]) for a in truth["annotations"] if a["category_id"] == category
    }
    shown = [d for d in found if d["category_id"] == category and d["score"] >= threshold]
    right = sum((d["image_id"], *d["bbox"]) in squares for d in shown)
    return 2 * right / (len(shown) + len(squares))


def test_scores_become_honest(squares):
    report = run(squares)
    assert report.num_detections == 720 and 250 < report.num_right < 470
    assert report.calibration.temperature > 1.3 and report.calibration.bias < 0
    assert report.after.reliability.ece < 0.7 * report.before.reliability.ece
    assert report.after.log_loss < report.before.log_loss


def test_thresholds_are_the_best_of_the_calibrated_scores(squares):
    truth, found = squares
    report = run(squares)
    after = calibrated(found, report.calibration)
    assert report.thresholds == best_thresholds(truth, after)
    raw = best_thresholds(truth, found)
    for category in (1, 2):
        name = f"thing {category}"
        assert report.before.f1[name] == pytest.approx(
            slow_f1(truth, found, category, {1: 0.9, 2: 0.2}[category])
        )
        best = slow_f1(truth, after, category, report.thresholds[category])
        assert report.after.f1[name] == pytest.approx(best)
        assert best == pytest.approx(slow_f1(truth, found, category, raw[category]))
        assert report.after.f1[name] >= report.before.f1[name]
    assert report.thresholds[3] == 0.5 and report.after.f1["thing 3"] is None


def test_the_figures_stay_what_they_were(squares):
    truth, found = squares
    report = run(squares)
    found = [*found, *(d | {"score": MIN_SCORE} for d in found[:7])]
    before = evaluate(truth, found, max_detections=20, thresholds={1: 0.9, 2: 0.2})
    after = evaluate(
        truth,
        calibrated(found, report.calibration),
        max_detections=20,
        thresholds=report.thresholds,
        min_score=report.calibration.floor(MIN_SCORE),
    )
    assert 0.1 < before.segm.ap < 0.9
    assert (after.segm, after.bbox) == (before.segm, before.bbox)
    assert (after.voc, after.voc_boxes) == (before.voc, before.voc_boxes)
    for one, other in zip(before.categories, after.categories, strict=True):
        assert replace(one, threshold=0.0) == replace(other, threshold=0.0)


def test_a_second_time_nothing_changes(squares):
    first = run(squares)
    again = run(squares, calibration=first.calibration, thresholds=first.thresholds)
    assert again.calibration == first.calibration and again.thresholds == first.thresholds
    assert again.before.to_json() == again.after.to_json() == first.after.to_json()


def test_weak_and_surplus_detections_do_not_count(squares):
    truth, found = squares
    weak = [d | {"score": 0.0009} for d in found]
    report = calibrate(truth, found + weak, max_detections=20, calibration=None, thresholds={})
    assert report.num_detections == 30 * 20
    with pytest.raises(InputError, match="calibration: 0 detections are right and 0 wrong"):
        calibrate(truth, weak, max_detections=20, calibration=None, thresholds={})


def test_the_contract_of_the_json_form(squares):
    report = run(squares)
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert list(document) == [
        "temperature", "bias", "iou", "bins", "detections", "right", "before", "after",
    ]  # fmt: skip
    assert (document["iou"], document["bins"], document["detections"]) == (0.5, 15, 720)
    for side, thresholds in (("before", (0.9, 0.2, 0.5)), ("after", report.thresholds.values())):
        assert list(document[side]) == ["ece", "log_loss", "per_class"]
        rows = document[side]["per_class"]
        assert list(rows) == ["thing 1", "thing 2", "thing 3"]
        assert [row["threshold"] for row in rows.values()] == list(thresholds)
        assert rows["thing 3"]["f1"] is None


def test_summary_is_a_readable_table(squares):
    report = run(squares)
    first, second, head, *rows = report.summary().splitlines()
    assert f"720 detections, {report.num_right} right" in first
    assert f"temperature {report.calibration.temperature:.3f}" in first
    before, after = report.before.reliability.ece, report.after.reliability.ece
    assert second.startswith(f"calibration error {before:.4f} before, {after:.4f} after; log loss ")
    assert head.split() == ["category", "threshold", "before", "F1", "after", "F1"]
    assert rows[0].split() == [
        "thing", "1", "0.900", f"{report.before.f1['thing 1']:.3f}",
        f"{report.thresholds[1]:.3f}", f"{report.after.f1['thing 1']:.3f}",
    ]  # fmt: skip
    assert rows[2].split()[2:] == ["0.500", "-", "0.500", "-"]

    truth, found = squares
    many = truth | {"categories": [{"id": i, "name": f"thing {i}"} for i in range(1, 40)]}
    text = run((many, found)).summary()
    assert "thing" not in text and text.splitlines()[-1].startswith("mean F1 0.")


def test_scores_as_they_stand(squares):
    report = run(squares)
    truth, found = squares
    weak = [d | {"score": 0.0005} for d in found]
    curve = measured_reliability(truth, found + weak, max_detections=100, min_score=MIN_SCORE)
    assert curve.ece == pytest.approx(report.before.reliability.ece, abs=1e-12)
    after = calibrated(found, report.calibration)
    floor = report.calibration.floor(MIN_SCORE)
    curve = measured_reliability(truth, after, max_detections=100, min_score=floor)
    assert curve.ece == pytest.approx(report.after.reliability.ece, abs=1e-12)
