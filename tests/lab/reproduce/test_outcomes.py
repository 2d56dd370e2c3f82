"""Metrics of samples of images against the evaluation of data in which images really repeat."""

import copy

import numpy as np
import pytest

from fcis.core.masks import rle_from_polygons
from fcis.evaluation.report import evaluate
from fcis.lab.reproduce.outcomes import METRICS, match

SIDE, IMAGES = 60, 5
each_metric = pytest.mark.parametrize("metric", METRICS)


def mask(x, y, width, height):
    points = [x, y, x + width, y, x + width, y + height, x, y + height]
    rle = rle_from_polygons([[float(p) for p in points]], SIDE, SIDE)
    return {"size": [SIDE, SIDE], "counts": rle["counts"].decode("ascii")}


def instance(image, category, box, **more):
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [float(v) for v in box],
        "segmentation": mask(*box),
        **more,
    }


def random_data(seed, *, crowds=False):
    """Squares, and detections that miss them by a little or by a lot; all scores differ."""
    random = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(1, IMAGES + 1):
        for _ in range(int(random.integers(0, 5))):
            category = int(random.integers(1, 4))
            x, y, side = (int(v) for v in random.integers((0, 0, 8), (30, 30, 26)))
            area = float(side * side)
            is_crowd = int(crowds and random.random() < 0.4)
            truth.append(
                instance(
                    image,
                    category,
                    (x, y, side, side),
                    id=len(truth) + 1,
                    area=area,
                    iscrowd=is_crowd,
                )
            )
            for _ in range(int(random.integers(0, 4))):
                dx, dy = (int(v) for v in random.integers(0, 5, 2))
                box = (x + dx, y + dy, side, side)
                found.append(instance(image, category, box, score=float(random.random())))
        box = (int(random.integers(0, 30)), 1, 12, 9)
        found.append(instance(image, 1, box, score=float(random.random())))
    images = [
        {"id": i, "file_name": f"{i}.png", "height": SIDE, "width": SIDE}
        for i in range(1, IMAGES + 1)
    ]
    categories = [{"id": c, "name": f"class {c}"} for c in (1, 2, 3)]
    return {"images": images, "annotations": truth, "categories": categories}, found


def repeated(truth, found, counts):
    """Return data in which each image stands so many times, under ids of its own."""
    new = {"images": [], "annotations": [], "categories": truth["categories"]}
    detections = []
    for image, count in zip(truth["images"], counts, strict=True):
        for copy_number in range(count):
            new_id = image["id"] + 100 * copy_number
            new["images"].append({**image, "id": new_id})
            for annotation in truth["annotations"]:
                if annotation["image_id"] == image["id"]:
                    number = len(new["annotations"]) + 1
                    new["annotations"].append({**annotation, "id": number, "image_id": new_id})
            for detection in found:
                if detection["image_id"] == image["id"]:
                    detections.append({**detection, "image_id": new_id})
    return new, detections


def evaluated(truth, found, metric, most=100):
    report = evaluate(
        copy.deepcopy(truth), copy.deepcopy(found), max_detections=most, thresholds={}
    ).to_json()
    return {**report["segm"], **report["voc"]}[metric]


@each_metric
@pytest.mark.parametrize("seed", range(6))
def test_the_whole_set_has_the_evaluations_figure(metric, seed):
    truth, found = random_data(seed, crowds=seed >= 3)
    outcomes = match(truth, found, metric, max_detections=100)
    expected = evaluated(truth, found, metric)
    assert 0 < expected < 1
    counts = np.ones(IMAGES, dtype=np.int64)
    assert outcomes.figure(counts) == pytest.approx(expected, abs=1e-9)


@each_metric
@pytest.mark.parametrize("seed", range(4))
def test_samples_have_the_figure_of_data_that_repeats(metric, seed):
    truth, found = random_data(seed, crowds=seed % 2 == 1)
    outcomes = match(truth, found, metric, max_detections=100)
    random = np.random.default_rng(seed)
    for _ in range(4):
        counts = random.multinomial(IMAGES, [1 / IMAGES] * IMAGES)
        expected = evaluated(*repeated(truth, found, counts), metric)
        assert outcomes.figure(counts) == pytest.approx(expected or 0.0, abs=1e-9), counts


@each_metric
def test_as_many_detections_count_as_in_the_evaluation(metric):
    truth, found = random_data(1)
    outcomes = match(truth, found, metric, max_detections=2)
    expected = evaluated(truth, found, metric, most=2)
    assert outcomes.figure(np.ones(IMAGES, dtype=np.int64)) == pytest.approx(expected, abs=1e-9)
    if metric != "mAP_r@0.7":  # where those that are left out happen to be wrong
        assert expected != evaluated(truth, found, metric)


@each_metric
def test_nothing_found_is_nothing(metric):
    truth, found = random_data(0)
    ones = np.ones(IMAGES, dtype=np.int64)
    assert match(truth, [], metric, max_detections=9).figure(ones) == 0.0
    empty = {**truth, "annotations": []}
    assert match(empty, found, metric, max_detections=9).figure(ones) == 0.0


def test_by_hand():
    """One category, two images: found in the first alone, after a wrong one in the second."""
    truth, _ = random_data(0)
    boxes = {1: (5, 5, 10, 10), 2: (5, 5, 10, 10)}
    truth["annotations"] = [
        instance(i, 1, box, id=i, area=100.0, iscrowd=0) for i, box in boxes.items()
    ]
    found = [instance(2, 1, (40, 40, 10, 10), score=0.9), instance(1, 1, boxes[1], score=0.8)]
    outcomes = match(truth, found, "mAP_r@0.5", max_detections=9)
    first, second = np.zeros(IMAGES, dtype=np.int64), np.zeros(IMAGES, dtype=np.int64)
    first[0], second[1] = 1, 1
    assert outcomes.figure(first) == 1.0
    assert outcomes.figure(second) == 0.0
    # recall 1/2 at precision 1/2, which six of the eleven levels reach
    assert outcomes.figure(first + second) == pytest.approx(6 / 11 / 2)


def test_other_metrics_are_refused():
    with pytest.raises(ValueError, match=r"metric: expected one of AP, .*, got AR"):
        match(*random_data(0), "AR", max_detections=9)
