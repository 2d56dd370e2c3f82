"""One image: its file, and sizes that annotations decide on."""

from pathlib import Path

import numpy as np
import pytest

from fcis.data.checks import faults
from fcis.data.checks.faults import Changed, Dropped, Kept, Problem
from fcis.data.checks.image_check import (
    ValImages,
    compare_images,
    numbers_of,
    settle,
    size_problem,
)
from fcis.data.checks.image_facts import ImageFacts
from fcis.data.checks.raw import RawImage, RawObject, raw_of
from fcis.data.dataset import FileSource, UnturnedSource
from fcis.data.scenes.shape_scenes import scene_dataset

SQUARE = [[2, 3, 12, 3, 12, 13, 2, 13]]
DROPPED = Dropped()
FILE = FileSource(path=Path("a.png"))


def settled(stated, facts, masks=()):
    """Return the frame, and (kind, text, fix) of each problem."""
    objects = [RawObject("it", 1, 1, mask) for mask in masks]
    image = RawImage(
        id=1, file_name="a.png", source=FILE, stated=stated,
        objects=lambda size: objects,
    )  # fmt: skip
    frame, problems = settle(image, facts)
    return frame, [(problem.kind, problem.text, problem.fix) for problem in problems]


def test_a_good_image():
    for stated in ((20, 30), None):
        frame, found = settled(stated, ImageFacts(size=(20, 30)))
        assert found == [] and (frame.size, frame.stated) == ((20, 30), (20, 30))
        assert frame.source == FILE


def test_a_bad_file():
    problem = Problem(faults.MISSING_FILE, "has no file x")
    _, found = settled((20, 30), ImageFacts(problem=problem))
    assert found == [(faults.MISSING_FILE, "has no file x", DROPPED)]


def test_what_the_text_of_a_wrong_size_says():
    problem = size_problem((25, 60), (20, 30))
    assert problem.kind is faults.WRONG_SIZE
    assert problem.text == "is 60 x 25 (width x height), but the dataset says 30 x 20"
    assert size_problem((30, 20), (20, 30)).kind is faults.ROTATED


RLE = {"size": [20, 30], "counts": [600]}
WIDE = [[2, 3, 28, 3, 28, 13]]  # does not fit into an image of 20 x 30 turned


@pytest.mark.parametrize(
    ("stated", "size", "masks", "fix", "result"),
    [
        # another shape: the file counts unless masks speak against it
        ((20, 30), (25, 60), [], Changed("size taken from the file"), ((25, 60), (25, 60))),
        ((20, 30), (25, 60), [SQUARE], Changed("size taken from the file"), ((25, 60), (25, 60))),
        ((20, 30), (25, 29), [RLE], DROPPED, None),
        ((20, 30), (25, 20), [WIDE], DROPPED, None),
        # the same shape: it was resized, unless masks fit the file alone
        (
            (20, 30),
            (40, 60),
            [SQUARE],
            Changed("annotations scaled to the file"),
            ((40, 60), (20, 30)),
        ),
        (
            (20, 30),
            (10, 15),
            [RLE],
            Changed("annotations scaled to the file"),
            ((10, 15), (20, 30)),
        ),
        ((20, 30), (41, 61), [], Changed("annotations scaled to the file"), ((41, 61), (20, 30))),
        ((10, 15), (20, 30), [RLE], Changed("size taken from the file"), ((20, 30), (20, 30))),
        ((10, 15), (20, 30), [WIDE], Changed("size taken from the file"), ((20, 30), (20, 30))),
        # swapped: only masks can tell
        (
            (30, 20),
            (20, 30),
            [RLE],
            Changed("'height' and 'width' exchanged"),
            ((20, 30), (20, 30)),
        ),
        (
            (30, 20),
            (20, 30),
            [WIDE],
            Changed("'height' and 'width' exchanged"),
            ((20, 30), (20, 30)),
        ),
        ((30, 20), (20, 30), [SQUARE], DROPPED, None),
        ((30, 20), (20, 30), [], DROPPED, None),
    ],
)
def test_sizes_that_differ(stated, size, masks, fix, result):
    frame, ((kind, _, got),) = settled(stated, ImageFacts(size=size, stored=size), masks)
    assert kind is (faults.ROTATED if size == stated[::-1] else faults.WRONG_SIZE)
    assert got == fix and (result is None) == (fix == DROPPED)
    if result is not None:
        assert (frame.size, frame.stated) == result


def test_the_majority_of_masks_decides():
    masks = [RLE, {**RLE, "size": [10, 15]}, WIDE, [np.array(WIDE[0], dtype=np.float64)], None, 5]
    frame, ((_, _, fix),) = settled((10, 15), ImageFacts(size=(20, 30)), masks)
    assert (frame.stated, fix) == ((20, 30), Changed("size taken from the file"))


def test_exif_rotations():
    facts = ImageFacts(size=(30, 20), stored=(20, 30), orientation=8)
    frame, ((_, text, fix),) = settled((20, 30), facts)
    assert text.endswith("says 30 x 20, which is its size before the EXIF rotation (8)")
    assert fix == Changed("saved without the rotation, as it was annotated")
    assert frame.source == UnturnedSource(path=FILE.path)
    assert (frame.size, frame.stated) == ((20, 30), (20, 30))
    turned = {"size": [30, 20], "counts": [600]}
    frame, ((_, _, fix),) = settled((20, 30), facts, [turned])
    assert fix == Changed("'height' and 'width' exchanged")
    assert frame.source == FILE
    _, found = settled((20, 30), ImageFacts(size=(20, 30), stored=(20, 30), orientation=2))
    text = "has the EXIF orientation 2, which its size does not show"
    assert found == [(faults.EXIF_UNSURE, text, Kept())]
    assert settled((20, 30), ImageFacts(size=(20, 30), stored=(30, 20), orientation=6))[1] == []


def test_deep_images():
    _, found = settled((20, 30), ImageFacts(size=(20, 30), is_deep=True))
    assert found == [(faults.DEEP_IMAGE, "has 16 bits or floats", Kept())]


def test_images_of_the_validation_set():
    val = ValImages(same={0: "x.png", 2: "c"}, names=frozenset({"b", "c"}))
    found = [val.problems(index, name) for index, name in enumerate("abcd")]
    assert [[(p.kind, p.text, p.fix) for p in problems] for problems in found] == [
        [(faults.IN_TRAIN_AND_VAL, "is in the validation set too, as x.png", DROPPED)],
        [(faults.SAME_NAME, "is another file in the validation set", Kept())],
        [(faults.IN_TRAIN_AND_VAL, "is in the validation set too, as c", DROPPED)],
        [],
    ]


def test_images_of_both_sets():
    train, val = (raw_of(scene_dataset(n, 4, size=(64, 96))).images for n in (3, 2))
    names = [image.file_name for image in val]
    expected = ValImages(same=dict(enumerate(names)), names=frozenset(names))
    assert compare_images(train, val) == expected
    other = raw_of(scene_dataset(2, 5, size=(64, 96))).images
    assert compare_images(train, other).same == {}


def test_numbers():
    assert numbers_of([1, 2.5, float("nan")]) == numbers_of(np.array([1, 2.5, np.nan])) == [1, 2.5]
    assert list(numbers_of("text")) == list(numbers_of([[1]])) == []
