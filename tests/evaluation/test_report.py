import json

import pytest

from fcis.core.errors import InputError
from fcis.evaluation.operating import best_thresholds
from fcis.evaluation.report import evaluate

FIGURES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR"]


def perfect(truth):
    fields = ("image_id", "category_id", "bbox", "segmentation")
    return [
        {name: annotation[name] for name in fields} | {"score": 0.9}
        for annotation in truth["annotations"]
        if not annotation["iscrowd"]
    ]


def leaves(node):
    if isinstance(node, dict):
        for value in node.values():
            yield from leaves(value)
    else:
        yield node


def test_the_contract_of_the_json_form(nuclei):
    truth, detections = nuclei
    thresholds = best_thresholds(truth, detections)
    report = evaluate(
        truth, detections, max_detections=400, thresholds=thresholds, seconds_per_image=0.25
    )
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert list(document) == [
        "segm",
        "bbox",
        "voc",
        "dsb",
        "per_class",
        "images",
        "max_detections",
        "seconds_per_image",
        "confusion",
    ]
    assert document.pop("confusion")["classes"] == ["nucleus", "background"]
    assert list(document["segm"]) == list(document["bbox"]) == FIGURES
    assert list(document["voc"]) == [
        "mAP_r@0.5",
        "mAP_r@0.5_continuous",
        "mAP_r@0.7",
        "mAP_r@0.7_continuous",
        "mAP_b@0.5",
        "mAP_b@0.5_continuous",
        "mAP_b@0.7",
        "mAP_b@0.7_continuous",
    ]
    assert list(document["dsb"]) == [f"{p / 100:.2f}" for p in range(50, 95, 5)]
    assert (document["images"], document["max_detections"]) == (12, 400)
    assert document["seconds_per_image"] == 0.25
    nucleus = document["per_class"]["nucleus"]
    assert nucleus["segm"] == {name: document["segm"][name] for name in ("AP", "AP50")}
    assert nucleus["bbox"] == {name: document["bbox"][name] for name in ("AP", "AP50")}
    assert nucleus["voc"] == {
        name.removeprefix("m"): value for name, value in document["voc"].items()
    }
    assert (nucleus["instances"], nucleus["threshold"]) == (
        len(truth["annotations"]),
        thresholds[1],
    )
    for name in ("segm", "bbox"):
        assert document[name].pop("AP_large") is None  # there are no such nuclei
    for name in ("segm", "bbox", "voc", "dsb"):
        assert all(0 < value < 1 for value in document[name].values())


def test_perfect_predictions_give_one(nuclei):
    truth, _ = nuclei
    document = evaluate(truth, perfect(truth), max_detections=400, thresholds={1: 0.5}).to_json()
    for name in ("segm", "bbox", "voc", "dsb"):
        figures = [value for key, value in document[name].items() if key != "AP_large"]
        assert figures == pytest.approx([1.0] * len(figures)), name
    assert document["seconds_per_image"] is None


def test_no_detections_give_zero(crowded_street):
    truth, _ = crowded_street
    report = evaluate(truth, [], max_detections=100, thresholds={}).to_json()
    assert (report["segm"]["AP"], report["bbox"]["AP"], report["segm"]["AR"]) == (0.0, 0.0, 0.0)
    assert set(report["voc"].values()) == set(report["dsb"].values()) == {0.0}
    assert report["segm"]["AP_large"] is None  # there are no such instances


@pytest.mark.parametrize("num_images", [0, 1])
def test_no_ground_truth_gives_nulls(make, num_images):
    truth = make.dataset([], num_images=num_images)
    found = [make.detection(make.rectangle(0, 0, 9, 9))] * num_images
    report = evaluate(truth, found, max_detections=100, thresholds={1: 0.25}).to_json()
    for name in ("segm", "bbox", "voc", "dsb"):
        assert set(leaves(report[name])) == {None}
    assert report["per_class"]["thing 1"] == {
        "segm": {"AP": None, "AP50": None},
        "bbox": {"AP": None, "AP50": None},
        "voc": dict.fromkeys(
            f"AP_{kind}@{iou}{form}"
            for kind in "rb"
            for iou in (0.5, 0.7)
            for form in ("", "_continuous")
        ),
        "instances": 0,
        "threshold": 0.25,
    }


def test_thresholds_matter_for_the_correct_share_alone(crowded_street):
    low, high = (
        evaluate(*crowded_street, max_detections=100, thresholds={1: t, 2: t}) for t in (0.0, 0.9)
    )
    assert (low.segm, low.bbox, low.voc) == (high.segm, high.bbox, high.voc)
    assert low.dsb != high.dsb


def test_the_limit_holds_for_every_figure(make):
    mask, other = make.rectangle(0, 0, 10, 10), make.rectangle(20, 0, 10, 10)
    truth = make.dataset([(1, 1, mask), (1, 2, other)], categories=(1, 2))
    found = [make.detection(mask, score=0.6), make.detection(other, category_id=2, score=0.7)]
    both = evaluate(truth, found, max_detections=2, thresholds={}).to_json()
    one = evaluate(truth, found, max_detections=1, thresholds={}).to_json()
    for name, key in (("segm", "AP"), ("bbox", "AP"), ("voc", "mAP_r@0.5"), ("dsb", "0.50")):
        assert (both[name][key], one[name][key]) == (pytest.approx(1.0), pytest.approx(0.5))


def test_weak_detections_are_left_out(make):
    mask = make.rectangle(0, 0, 10, 10)
    truth = make.dataset([(1, 1, mask)])
    for score, expected in ((0.001, 1.0), (0.0009, 0.0)):
        found = [make.detection(mask, score=score)]
        report = evaluate(truth, found, max_detections=100, thresholds={1: 0.0})
        assert report.segm.ap == report.dsb["0.50"] == pytest.approx(expected)
        report = evaluate(truth, found, max_detections=100, thresholds={1: 0.0}, min_score=0.0005)
        assert report.segm.ap == report.dsb["0.50"] == pytest.approx(1.0)


def test_boxes_are_judged_apart_from_masks(make):
    """A mask of the wrong form whose enclosing box is that of the annotation."""
    square = make.rectangle(10, 10, 20, 20)
    frame = square & ~make.rectangle(12, 12, 16, 16)
    report = evaluate(
        make.dataset([(1, 1, square)]),
        [make.detection(frame)],
        max_detections=100,
        thresholds={},
    )
    assert (report.segm.ap, report.voc[0.5].eleven_point) == (0.0, 0.0)
    assert report.bbox.ap == pytest.approx(1.0)
    assert [report.voc_boxes[iou].eleven_point for iou in (0.5, 0.7)] == pytest.approx([1.0, 1.0])
    assert report.categories[0].voc_boxes == report.voc_boxes


def test_summary_is_a_readable_table(crowded_street, make):
    report = evaluate(
        *crowded_street, max_detections=100, thresholds={1: 0.25}, seconds_per_image=0.1234
    )
    text = report.summary()
    assert "5 images" in text and "0.123 s an image" in text and "at most 100" in text
    for line, figures in (("masks", report.segm), ("boxes", report.bbox)):
        row = next(row for row in text.splitlines() if row.startswith(line)).split()
        values = figures.to_json().values()
        assert row[1:] == ["-" if v is None else f"{v:.3f}" for v in values]
    assert f"{report.voc[0.5].eleven_point:.3f} at IoU 0.5" in text
    assert f"mAP^b   {report.voc_boxes[0.5].eleven_point:.3f} at IoU 0.5" in text
    assert f"{report.dsb['0.70']:.3f} at IoU 0.70" in text
    figures, matrix = text.split("annotated, found")
    assert [row.split()[-1] for row in figures.splitlines() if row.startswith("thing")] == [
        "0.250",
        "0.500",
    ]
    counts = report.confusion.counts.tolist()
    assert [row.split()[-3:] for row in matrix.splitlines()[1:]] == [
        [str(count or ".") for count in row] for row in counts
    ]
    assert max(map(len, text.splitlines())) <= 110

    many = make.dataset([], categories=tuple(range(30)))
    assert "thing" not in evaluate(many, [], max_detections=1, thresholds={}).summary()


def test_bad_arguments(crowded_street, make):
    with pytest.raises(ValueError, match="max_detections: expected at least 1, got 0"):
        evaluate(*crowded_street, max_detections=0, thresholds={})
    stranger = make.detection(make.rectangle(0, 0, 9, 9), image_id=77, score=0.0)
    with pytest.raises(InputError, match="detection 0: image_id 77"):
        evaluate(crowded_street[0], [stranger], max_detections=10, thresholds={})
