import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.core.masks import mask_from_rle
from fcis.evaluation.records import MIN_SCORE, read_evaluation_set, strongest


def test_every_form_of_a_mask_is_read(make):
    mask = make.rectangle(10, 5, 20, 8)
    text = make.encode(mask)
    columns = mask.T.ravel()
    edges = np.flatnonzero(np.diff(columns)) + 1
    counts = np.diff(np.concatenate(([0], edges, [columns.size]))).tolist()
    forms = [
        text,
        text | {"counts": text["counts"].encode()},
        {"size": [40, 60], "counts": counts},
        [[10, 5, 30, 5, 30, 13, 10, 13]],
        [[10, 5, 20, 5, 20, 13, 10, 13], [1, 1, 2, 2], [20, 5, 30, 5, 30, 13, 20, 13]],
    ]
    truth = make.dataset([(1, 1, mask)] * len(forms))
    for annotation, form in zip(truth["annotations"], forms, strict=True):
        annotation["segmentation"] = form
    for instance in read_evaluation_set(truth, []).truth:
        np.testing.assert_array_equal(mask_from_rle(instance.mask), mask)


def test_fields_are_kept(make):
    mask = make.rectangle(10, 5, 20, 8)
    truth = make.dataset([(2, 7, mask, True), (1, 7, mask)], num_images=2, categories=(7,))
    truth["annotations"][0]["area"] = 123.5
    del truth["annotations"][1]["iscrowd"]
    found = make.detection(mask, image_id=2, category_id=7, score=0.25)
    evaluation_set = read_evaluation_set(truth, [found])
    first, second = evaluation_set.truth
    assert (first.image_id, first.category_id, first.area, first.is_crowd) == (2, 7, 123.5, True)
    assert (second.box, second.is_crowd) == ((10.0, 5.0, 20.0, 8.0), False)
    (one,) = evaluation_set.detections
    assert (one.image_id, one.category_id, one.score, one.box) == (2, 7, 0.25, second.box)
    assert evaluation_set.image_sizes == {1: (40, 60), 2: (40, 60)}


def test_names_that_occur_twice_are_told_apart(make):
    truth = make.dataset([], categories=(0, 1, 2))
    for category, name in zip(truth["categories"], ("cell", "cell", "dirt"), strict=True):
        category["name"] = name
    assert read_evaluation_set(truth, []).category_names == {
        0: "cell (id 0)",
        1: "cell (id 1)",
        2: "dirt",
    }


def test_strongest_are_taken_an_image_over_all_categories(make):
    mask = make.rectangle(10, 5, 20, 8)
    truth = make.dataset([], num_images=3, categories=(1, 2))
    rows = [  # image, category, score, kept of two an image
        (1, 1, 0.30, False),
        (2, 1, 0.10, True),
        (1, 2, 0.50, True),
        (1, 1, 0.40, True),  # equal scores: the first one
        (1, 2, 0.40, False),
        (2, 2, MIN_SCORE, True),
        (3, 1, MIN_SCORE * 0.999, False),
    ]
    found = [make.detection(mask, image_id=i, category_id=c, score=s) for i, c, s, _ in rows]
    kept = strongest(read_evaluation_set(truth, found), 2).detections
    assert [(d.image_id, d.category_id, d.score) for d in kept] == [r[:3] for r in rows if r[3]]
    kept = strongest(read_evaluation_set(truth, found), 2, 0.35).detections
    assert [d.score for d in kept] == [0.5, 0.4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, "detection 1: image_id 99 is not among the 1 images"),
        ({"image_id": "1"}, "detection 1: image_id '1' is not among the 1 images"),
        ({"image_id": None}, "detection 1: image_id None is not among the 1 images"),
        ({"category_id": 7}, r"detection 1: category_id 7 is not a category .*\(1, 3\)"),
        (
            {"segmentation": {"size": [60, 40], "counts": "`V1"}},
            r"detection 1: segmentation is \[60, 40\], its image \[40, 60\]",
        ),
    ],
)
def test_detections_of_another_data_set_are_refused(make, change, message):
    mask = make.rectangle(10, 5, 20, 8)
    truth = make.dataset([(1, 1, mask)], categories=(1, 3))
    found = [make.detection(mask), make.detection(mask) | change]
    with pytest.raises(InputError, match=message) as error:
        read_evaluation_set(truth, found)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, "annotation 0: image_id 99"),
        ({"category_id": 7}, "annotation 0: category_id 7"),
        ({"segmentation": []}, "annotation 0: segmentation has no polygon of three points"),
        ({"segmentation": [[1, 1, 5, 5]]}, "annotation 0: segmentation has no polygon"),
    ],
)
def test_a_broken_ground_truth_is_refused(make, change, message):
    truth = make.dataset([(1, 1, make.rectangle(10, 5, 20, 8))])
    truth["annotations"][0] |= change
    with pytest.raises(InputError, match=message):
        read_evaluation_set(truth, [])


def test_many_categories_are_not_all_listed(make):
    truth = make.dataset([], categories=tuple(range(1, 81)))
    found = make.detection(make.rectangle(10, 5, 20, 8), category_id=99)
    with pytest.raises(InputError, match=r"\(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, \.\.\.\)"):
        read_evaluation_set(truth, [found])
