import pytest

from fcis.evaluation.dsb import IOU_THRESHOLDS, correct_share, dsb_figures
from fcis.evaluation.overlaps import category_overlaps
from fcis.evaluation.records import read_evaluation_set


def tables(truth, detections):
    return category_overlaps(read_evaluation_set(truth, detections))


def slow_share(truth, detections, thresholds, min_iou, decode):
    """TP / (TP + FP + FN) by plain loops over images, categories and dense masks."""
    right = wrong = missed = 0
    for image in truth["images"]:
        size = (image["height"], image["width"])
        for category, threshold in thresholds.items():
            free = [
                decode(a, size)
                for a in truth["annotations"]
                if (a["image_id"], a["category_id"], a.get("iscrowd", 0))
                == (image["id"], category, 0)
            ]
            shown = [
                d
                for d in detections
                if (d["image_id"], d["category_id"]) == (image["id"], category)
                and d["score"] >= threshold
            ]
            for found in sorted(shown, key=lambda d: -d["score"]):
                mask = decode(found, size)
                ious = [(mask & other).sum() / (mask | other).sum() for other in free]
                if ious and max(ious) >= min_iou:
                    del free[ious.index(max(ious))]
                    right += 1
                else:
                    wrong += 1
            missed += len(free)
    return right / (right + wrong + missed)


def test_equal_to_the_slow_reference(crowded_street, make):
    thresholds = {1: 0.5, 2: 0.3}
    figures = dsb_figures(tables(*crowded_street), thresholds)
    assert list(figures) == [f"{0.5 + 0.05 * step:.2f}" for step in range(9)]
    for name, value in figures.items():
        expected = slow_share(*crowded_street, thresholds, float(name), make.decode)
        assert value == pytest.approx(expected, abs=1e-12), name
    assert figures["0.50"] > figures["0.70"] > figures["0.90"]


def test_equal_to_the_slow_reference_on_dense_images(nuclei, make):
    truth, detections = nuclei
    small = [image["id"] for image in truth["images"] if image["height"] <= 256]
    few = set(small[:8])
    truth = {
        "images": [image for image in truth["images"] if image["id"] in few],
        "annotations": [a for a in truth["annotations"] if a["image_id"] in few],
        "categories": truth["categories"],
    }
    detections = [d for d in detections if d["image_id"] in few]
    value = correct_share(tables(truth, detections), {1: 0.5}, 0.75)
    expected = slow_share(truth, detections, {1: 0.5}, 0.75, make.decode)
    assert value == pytest.approx(expected, abs=1e-12)


def test_by_hand(make):
    instances = [make.rectangle(x, 0, 10, 10) for x in (0, 20, 40)]
    truth = make.dataset(
        [(1, 1, mask) for mask in instances] + [(2, 2, instances[0])],
        num_images=2,
        categories=(1, 2),
    )
    found = [
        make.detection(instances[0], score=0.9),  # right
        make.detection(make.rectangle(0, 0, 9, 10), score=0.8),  # the same again: wrong
        make.detection(make.rectangle(20, 0, 10, 6), score=0.7),  # right up to IoU 0.6
        make.detection(instances[2], score=0.2),  # below the threshold: missed
        make.detection(instances[0], image_id=2, category_id=1, score=0.9),  # wrong category
    ]
    overlaps, thresholds = tables(truth, found), {1: 0.7, 2: 0.1}
    assert correct_share(overlaps, thresholds, 0.6) == pytest.approx(2 / (2 + 2 + 2))
    assert correct_share(overlaps, thresholds, 0.65) == pytest.approx(1 / (1 + 3 + 3))
    assert correct_share(overlaps, {1: 0.2, 2: 0.1}, 0.6) == pytest.approx(3 / (3 + 2 + 1))


def test_an_iou_that_is_exactly_the_threshold_is_enough(make):
    whole = make.rectangle(0, 0, 20, 5)
    truth = make.dataset([(1, 1, whole)])
    for min_iou in IOU_THRESHOLDS:
        part = make.rectangle(0, 0, round(20 * min_iou), 5)
        overlaps = tables(truth, [make.detection(part)])
        assert correct_share(overlaps, {1: 0.5}, min_iou) == 1.0


def test_nothing_found_nothing_there_and_no_threshold_given(make):
    mask = make.rectangle(0, 0, 10, 10)
    truth = make.dataset([(1, 1, mask)])
    assert correct_share(tables(truth, []), {1: 0.5}, 0.5) == 0.0
    assert correct_share(tables(make.dataset([]), [make.detection(mask)]), {1: 0.5}, 0.5) is None
    assert correct_share(tables(truth, [make.detection(mask, score=0.5)]), {}, 0.5) == 1.0
    assert correct_share(tables(truth, [make.detection(mask, score=0.49)]), {}, 0.5) == 0.0
