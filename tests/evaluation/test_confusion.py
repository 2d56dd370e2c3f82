import json

import numpy as np
import pytest

from fcis.evaluation.confusion import Confusion, confusion_matrix, draw_confusion
from fcis.evaluation.dsb import correct_share
from fcis.evaluation.overlaps import category_overlaps
from fcis.evaluation.records import read_evaluation_set, strongest

LOW = dict.fromkeys(range(1, 100), 0.0)


def matrix_of(truth, found, thresholds=LOW):
    return confusion_matrix(read_evaluation_set(truth, found), thresholds)


def of(counts, names=None):
    counts = np.array(counts)
    names = names or [f"thing {i + 1}" for i in range(len(counts) - 1)]
    return Confusion(names=(*names, "background"), counts=counts)


def test_a_case_by_hand(make):
    """Right, missed, under another name, found nowhere, found twice, and below the threshold."""
    a, b, c, d = (make.rectangle(x, y, 10, 10) for x, y in ((0, 0), (20, 0), (40, 0), (0, 20)))
    nowhere = make.rectangle(40, 25, 8, 8)
    truth = make.dataset(
        [(1, 1, a), (1, 1, b), (1, 2, c), (1, 2, d)], categories=(1, 2), num_images=2
    )
    found = [
        make.detection(a, score=0.9),
        make.detection(a, score=0.8),  # once more
        make.detection(c, category_id=1, score=0.7),  # under another name
        make.detection(nowhere, category_id=2, score=0.6),
        make.detection(d, category_id=2, score=0.2),  # not shown
        make.detection(d, category_id=2, image_id=2, score=0.9),  # in another image
    ]
    matrix = matrix_of(truth, found, {1: 0.5, 2: 0.5})
    assert matrix.names == ("thing 1", "thing 2", "background")
    assert matrix.counts.tolist() == [[1, 0, 1], [1, 0, 1], [1, 2, 0]]
    assert json.loads(json.dumps(matrix.to_json())) == {
        "iou": 0.5,
        "classes": ["thing 1", "thing 2", "background"],
        "counts": [[1, 0, 1], [1, 0, 1], [1, 2, 0]],
    }


def test_what_is_found_under_its_own_name_is_right_whatever_else_is_found_there(make):
    mask = make.rectangle(0, 0, 10, 10)
    truth = make.dataset([(1, 1, mask)], categories=(1, 2))
    found = [make.detection(mask, category_id=2, score=0.9), make.detection(mask, score=0.3)]
    assert matrix_of(truth, found).counts.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_overlaps_count_from_one_half(make):
    whole, half = make.rectangle(0, 0, 10, 10), make.rectangle(0, 0, 10, 5)
    truth = make.dataset([(1, 1, whole)])
    assert matrix_of(truth, [make.detection(half)]).counts.tolist() == [[1, 0], [0, 0]]
    less = make.rectangle(0, 0, 7, 7)
    assert matrix_of(truth, [make.detection(less)]).counts.tolist() == [[0, 1], [1, 0]]


def test_crowd_regions_are_no_instances(make):
    mask = make.rectangle(0, 0, 10, 10)
    truth = make.dataset([(1, 1, mask, True)])
    assert matrix_of(truth, [make.detection(mask)]).counts.tolist() == [[0, 0], [1, 0]]


def test_nothing_anywhere(make):
    assert matrix_of(make.dataset([], categories=(1, 2)), []).counts.tolist() == [[0] * 3] * 3
    truth = make.dataset([(1, 1, make.rectangle(0, 0, 9, 9))])
    assert matrix_of(truth, []).counts.tolist() == [[0, 1], [0, 0]]


def by_pixels(make, truth, found, thresholds):
    """The same matrix by dense masks and plain loops."""
    categories = [c["id"] for c in truth["categories"]]
    counts = np.zeros((len(categories) + 1,) * 2, dtype=int)
    for image in truth["images"]:
        size = (image["height"], image["width"])
        here = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        here = [(a["category_id"], make.decode(a, size)) for a in here if not a["iscrowd"]]
        shown = [d for d in found if d["image_id"] == image["id"]]
        shown = [d for d in shown if d["score"] >= thresholds[d["category_id"]]]
        shown = sorted(shown, key=lambda d: -d["score"])
        shown = [(d["category_id"], make.decode(d, size)) for d in shown]
        free, open_ = list(range(len(here))), list(range(len(shown)))
        for same in (True, False):
            for i in list(open_):
                best, chosen = 0.5, None
                for j in free:
                    (first, mask), (second, other) = shown[i], here[j]
                    iou = (mask & other).sum() / (mask | other).sum()
                    if (first == second or not same) and iou >= best and (
                        chosen is None or iou > best
                    ):  # fmt: skip
                        best, chosen = iou, j
                if chosen is not None:
                    free.remove(chosen)
                    open_.remove(i)
                    places = categories.index(here[chosen][0]), categories.index(shown[i][0])
                    counts[places] += 1
        for j in free:
            counts[categories.index(here[j][0]), -1] += 1
        for i in open_:
            counts[-1, categories.index(shown[i][0])] += 1
    return counts


def test_the_definition_by_dense_masks(make, crowded_street):
    truth, found = crowded_street
    thresholds = {1: 0.3, 2: 0.55}
    counts = matrix_of(truth, found, thresholds).counts
    assert counts.tolist() == by_pixels(make, truth, found, thresholds).tolist()
    assert counts[0, 1] + counts[1, 0] > 0, "the case must confuse something"


def test_the_diagonal_is_what_the_share_of_correct_instances_counts(coco_mini, nuclei):
    for truth, found in (coco_mini, nuclei):
        evaluated = strongest(read_evaluation_set(truth, found), 100)
        thresholds = {c["id"]: 0.3 + 0.005 * c["id"] for c in truth["categories"]}
        counts = confusion_matrix(evaluated, thresholds).counts
        right, all_ = np.trace(counts), counts.sum()
        mixed = counts[:-1, :-1].sum() - right  # an instance and a detection each
        share = correct_share(category_overlaps(evaluated), thresholds, 0.5)
        assert right / (all_ + mixed) == pytest.approx(share, abs=1e-12)
        instances = sum(not a["iscrowd"] for a in truth["annotations"])
        assert counts[:-1].sum() == instances
        shown = [d for d in evaluated.detections if d.score >= thresholds[d.category_id]]
        assert counts[:, :-1].sum() == len(shown)
        assert counts[-1, -1] == 0


def test_one_class_is_one_line():
    assert of([[7, 2], [3, 0]]).lines() == ["shown   7 right, 2 missed, 3 false (mask IoU 0.5)"]


def test_a_few_classes_are_a_table():
    names = ["a", "a long name of a thing"]
    assert of([[5, 1, 2], [0, 4, 0], [3, 0, 0]], names).lines() == [
        "annotated, found       a  a long backgro",
        "a                      5       1       2",
        "a long name of a       .       4       .",
        "background             3       .       .",
    ]
    assert max(len(line) for line in of(np.full((11, 11), 99_999)).lines()) <= 110


def test_of_many_classes_the_worst_confusions_are_listed():
    counts = np.diag([10] * 11 + [0])
    counts[0, 1], counts[5, 2], counts[3, 11], counts[11, 4] = 3, 8, 6, 7
    assert of(counts).lines() == [
        "shown   110 right, 6 missed, 7 false (mask IoU 0.5)",
        "most often confused: thing 6 as thing 3 8, thing 1 as thing 2 3",
    ]
    assert len(of(np.diag([10] * 12)).lines()) == 1


@pytest.mark.parametrize("classes", [1, 3, 30])
def test_the_picture(tmp_path, classes):
    names = [f"class_{i}" for i in range(classes)]
    names[0] = "$x_1 $ % \\frac"  # no formula
    counts = np.arange((classes + 1) ** 2).reshape(classes + 1, -1)
    counts[-1, -1] = counts[0, 0] = 0
    figure = draw_confusion(of(counts, names))
    figure.savefig(tmp_path / "c.png")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [*names, "background"]
    shares = axes.images[0].get_array()
    assert shares[0].sum() == pytest.approx(1.0)
    shown = {t.get_text() for t in axes.texts}
    assert shown == ({str(v) for v in counts.ravel() if v} if classes < 30 else set())
