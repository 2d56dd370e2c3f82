import pytest

from fcis.core.errors import InputError
from fcis.evaluation.operating import best_thresholds, f1_at
from fcis.evaluation.overlaps import category_overlaps
from fcis.evaluation.records import read_evaluation_set


def brute_force(truth, detections, category, decode):
    """The best threshold: match anew at each score that occurs."""
    own = [d for d in detections if d["category_id"] == category]
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    masks = [decode(d, sizes[d["image_id"]]) for d in own]
    instances = [
        (a["image_id"], decode(a, sizes[a["image_id"]]))
        for a in truth["annotations"]
        if a["category_id"] == category and not a.get("iscrowd", 0)
    ]
    best = (0.0, 0.5)
    for threshold in sorted({d["score"] for d in own}):
        shown = [i for i, d in enumerate(own) if d["score"] >= threshold]
        used, right = set(), 0
        for i in sorted(shown, key=lambda i: -own[i]["score"]):
            options = [
                ((masks[i] & mask).sum() / (masks[i] | mask).sum(), -j)
                for j, (image_id, mask) in enumerate(instances)
                if image_id == own[i]["image_id"] and j not in used
            ]
            iou, j = max(options, default=(0.0, 0))
            if iou >= 0.5:
                used.add(-j)
                right += 1
        precision, recall = right / len(shown), right / len(instances)
        if right:
            f1 = 2 * precision * recall / (precision + recall)
            best = max(best, (round(f1, 12), threshold))
    return best[1]


def test_equal_to_brute_force(crowded_street, make):
    truth, detections = crowded_street
    found = best_thresholds(truth, detections)
    assert found == {c: brute_force(truth, detections, c, make.decode) for c in (1, 2)}
    assert found[1] != found[2]


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_brute_force_on_other_detections(crowded_street, make, seed):
    truth, _ = crowded_street
    detections = make.spoiled(truth, seed=seed, extra=12)
    found = best_thresholds(truth, detections)
    assert found == {c: brute_force(truth, detections, c, make.decode) for c in (1, 2)}


def test_by_hand(make):
    masks = [make.rectangle(x, 0, 10, 10) for x in (0, 20, 40)]
    nowhere = make.rectangle(0, 20, 10, 10)
    truth = make.dataset([(1, 1, mask) for mask in masks])
    rows = [(masks[0], 0.9), (nowhere, 0.8), (masks[1], 0.7), (masks[2], 0.6), (nowhere, 0.3)]
    found = [make.detection(mask, score=score) for mask, score in rows]
    # F1: 2/4, 2/5, 4/6, 6/7, 6/8
    assert best_thresholds(truth, found) == {1: 0.6}
    table = category_overlaps(read_evaluation_set(truth, found))[1]
    cuts = (0.9, 0.8, 0.7, 0.65, 0.6, 0.0)
    expected = [2 / 4, 2 / 5, 4 / 6, 4 / 6, 6 / 7, 6 / 8]
    assert [f1_at(table, cut) for cut in cuts] == pytest.approx(expected)
    assert f1_at(table, 0.95) == 0.0


def test_equal_scores_pass_together(make):
    mask, nowhere = make.rectangle(0, 0, 10, 10), make.rectangle(0, 20, 10, 10)
    other = make.rectangle(20, 0, 10, 10)
    truth = make.dataset([(1, 1, mask), (1, 1, other)])
    rows = [(mask, 0.9), (other, 0.4), (nowhere, 0.4), (nowhere, 0.4), (nowhere, 0.4)]
    found = [make.detection(m, score=score) for m, score in rows]
    # F1: 2/3 at 0.9; at 0.4 not 4/4 but 4/7
    assert best_thresholds(truth, found) == {1: 0.9}


def test_of_equally_good_thresholds_the_highest(make):
    masks = [make.rectangle(x, 0, 10, 10) for x in (0, 20)]
    nowhere = make.rectangle(0, 20, 10, 10)
    truth = make.dataset([(1, 1, mask) for mask in masks])
    rows = [(masks[0], 0.9), (nowhere, 0.8), (nowhere, 0.7), (masks[1], 0.6)]
    found = [make.detection(mask, score=score) for mask, score in rows]
    # F1: 2/3, 2/4, 2/5, 4/6
    assert best_thresholds(truth, found) == {1: 0.9}


def test_where_nothing_matches_the_default_stays(make):
    mask, nowhere = make.rectangle(0, 0, 10, 10), make.rectangle(0, 20, 10, 10)
    truth = make.dataset([(1, 1, mask), (1, 2, mask)], categories=(1, 2, 3, 4))
    found = [
        make.detection(nowhere, category_id=2, score=0.01),
        make.detection(mask, category_id=3, score=0.9),
    ]
    assert best_thresholds(truth, found) == {1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5}
    tables = category_overlaps(read_evaluation_set(truth, found))
    assert [f1_at(tables[i], 0.0) for i in (1, 2, 3, 4)] == [0.0, 0.0, None, None]


def test_detections_of_another_data_set_are_refused(make):
    mask = make.rectangle(0, 0, 10, 10)
    with pytest.raises(InputError, match="image_id 5 is not among the 1 images"):
        best_thresholds(make.dataset([(1, 1, mask)]), [make.detection(mask, image_id=5)])
