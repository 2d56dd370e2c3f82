"""The list of images: ids, names, files, and sizes that annotations decide on."""

import pytest

from fcis.data.checks import faults
from fcis.data.checks.image_check import (
    ValImages,
    check_images,
    compare_images,
    group_by_image,
    is_id,
)
from fcis.data.checks.image_facts import ImageFacts
from fcis.data.checks.raw import RawDataset, from_dataset
from fcis.data.scenes.shape_scenes import scene_dataset

SQUARE = [[2, 3, 12, 3, 12, 13, 2, 13]]
FINE = ImageFacts(size=(20, 30))


def image(**changes):
    return {"id": 1, "file_name": "a.png", "height": 20, "width": 30, **changes}


def annotation(segmentation=SQUARE, image_id=1):
    return {"id": 1, "image_id": image_id, "segmentation": segmentation}


def check(images, facts=None, annotations=(), val=None):
    """Return the frames, and (kind, sentence, repair) of each finding."""
    document = {"images": images}
    raw = RawDataset(
        name="x", document=document, images=images, annotations=list(annotations),
        categories=[], sources=(None,) * len(images),
    )  # fmt: skip
    frames, findings = check_images(raw, facts or [FINE] * len(images), val)
    return frames, [(f.kind, str(f), f.repair) for f in findings]


def settled(stated, size, annotations=(), **facts):
    """Return (frame, repair) of one image whose file has another size than stated."""
    entry = image(height=stated[0], width=stated[1])
    frames, ((kind, _, repair),) = check([entry], [ImageFacts(size=size, **facts)], annotations)
    swapped = size == stated[::-1]
    assert kind is (faults.ROTATED if swapped else faults.WRONG_SIZE)
    return frames[1], repair


def test_a_good_image():
    frames, found = check([image(file_name="b\\a.png"), image(id="x")])
    assert found == []
    assert (frames[1].size, frames[1].stated, frames[1].index) == ((20, 30), (20, 30), 0)
    assert (frames["x"].index, frames[1].file_name) == (1, "b/a.png")
    assert frames[1].is_kept and not frames[1].unturned


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("text", "image 'number 1' is not a dictionary"),
        (image(id=None), "image None (a.png) has no usable 'id'"),
        (image(id=True), "image True (a.png) has no usable 'id'"),
        (image(id=[1]), "image [1] (a.png) has no usable 'id'"),
        (image(file_name=""), "image 1 has no 'file_name'"),
        (image(file_name=5), "image 1 has no 'file_name'"),
    ],
)
def test_entries_that_cannot_be_used(entry, text):
    frames, found = check([entry], annotations=[annotation(image_id=7)])
    assert frames == {} and found == [(faults.BAD_IMAGE, text, "dropped")]


@pytest.mark.parametrize("value", [None, 0, -20, 2.5, "20", 2**31])
def test_sizes_that_cannot_be_used_come_from_the_file(value):
    frames, found = check([image(height=value)])
    text = f"image 1 (a.png) has the 'height' and 'width' {value!r} and 30"
    assert found == [(faults.BAD_IMAGE, text, "size taken from the file")]
    assert (frames[1].size, frames[1].stated) == ((20, 30), (20, 30))


def test_bad_files():
    facts = [ImageFacts(is_missing=True, problem="has no file x"), ImageFacts(problem="is bad")]
    frames, found = check([image(), image(id=2, file_name="b")], facts, [annotation()])
    assert found == [
        (faults.MISSING_FILE, "image 1 (a.png) has no file x", "dropped with its 1 annotation"),
        (faults.UNREADABLE_FILE, "image 2 (b) is bad", "dropped"),
    ]
    assert not frames[1].is_kept and not frames[2].is_kept


def test_one_id_for_two_files_and_for_one_file_twice():
    frames, found = check([image(), image(file_name="b.png")], annotations=[annotation()] * 2)
    lost = "dropped with its 2 annotations"
    assert frames == {}
    assert found == [
        (faults.DUPLICATE_IMAGE_ID, "image 1 (a.png) shares its id with 1 other file", lost),
        (faults.DUPLICATE_IMAGE_ID, "image 1 (b.png) shares its id with 1 other file", lost),
    ]
    frames, found = check([image(), image()])
    assert list(frames) == [1] and frames[1].index == 0
    text = "image 1 (a.png) has the id and the file of an image before it"
    assert found == [(faults.DUPLICATE_IMAGE_ID, text, "dropped; the image before it stays")]


def test_one_file_for_two_ids():
    frames, found = check([image(), image(id=2)])
    assert frames[2] is frames[1] and frames[1].id == 1
    text = "image 2 (a.png) is the file of image 1 too"
    assert found == [(faults.DUPLICATE_FILE, text, "its annotations given to image 1")]


def test_what_the_text_of_a_wrong_size_says():
    _, found = check([image()], [ImageFacts(size=(25, 60))])
    text = "image 1 (a.png) is 60 x 25 (width x height), but the dataset says 30 x 20"
    assert found == [(faults.WRONG_SIZE, text, "size taken from the file")]


RLE = {"size": [20, 30], "counts": [600]}
WIDE = [[2, 3, 28, 3, 28, 13]]  # does not fit into an image of 20 x 30 turned


@pytest.mark.parametrize(
    ("stated", "size", "masks", "repair", "result"),
    [
        # another shape: the file counts unless masks speak against it
        ((20, 30), (25, 60), [], "size taken from the file", ((25, 60), (25, 60))),
        ((20, 30), (25, 60), [SQUARE], "size taken from the file", ((25, 60), (25, 60))),
        ((20, 30), (25, 29), [RLE], "dropped with its 1 annotation", None),
        ((20, 30), (25, 20), [WIDE], "dropped with its 1 annotation", None),
        # the same shape: it was resized, unless masks fit the file alone
        ((20, 30), (40, 60), [SQUARE], "annotations scaled to the file", ((40, 60), (20, 30))),
        ((20, 30), (10, 15), [RLE], "annotations scaled to the file", ((10, 15), (20, 30))),
        ((20, 30), (41, 61), [], "annotations scaled to the file", ((41, 61), (20, 30))),
        ((10, 15), (20, 30), [RLE], "size taken from the file", ((20, 30), (20, 30))),
        ((10, 15), (20, 30), [WIDE], "size taken from the file", ((20, 30), (20, 30))),
        # swapped: only masks can tell
        ((30, 20), (20, 30), [RLE], "'height' and 'width' exchanged", ((20, 30), (20, 30))),
        ((30, 20), (20, 30), [WIDE], "'height' and 'width' exchanged", ((20, 30), (20, 30))),
        ((30, 20), (20, 30), [SQUARE], "dropped with its 1 annotation", None),
        ((30, 20), (20, 30), [], "dropped", None),
    ],
)
def test_sizes_that_differ(stated, size, masks, repair, result):
    frame, got = settled(stated, size, [annotation(mask) for mask in masks], stored=size)
    assert got == repair
    assert frame.is_kept == (result is not None) and not frame.unturned
    if result is not None:
        assert (frame.size, frame.stated) == result


def test_the_majority_of_masks_decides():
    masks = [annotation(m) for m in (RLE, {**RLE, "size": [10, 15]}, WIDE, None, 5)]
    frame, repair = settled((10, 15), (20, 30), masks)
    assert (frame.stated, repair) == ((20, 30), "size taken from the file")


def test_exif_rotations():
    frame, repair = settled((20, 30), (30, 20), stored=(20, 30), orientation=8)
    assert repair == "saved without the rotation, as it was annotated"
    assert frame.unturned and (frame.size, frame.stated) == ((20, 30), (20, 30))
    turned = annotation({"size": [30, 20], "counts": [600]})
    frame, repair = settled((20, 30), (30, 20), [turned], stored=(20, 30), orientation=8)
    assert repair == "'height' and 'width' exchanged" and not frame.unturned
    facts = [ImageFacts(size=(20, 30), stored=(20, 30), orientation=2)]
    text = "image 1 (a.png) has the EXIF orientation 2, which its size does not show"
    assert check([image()], facts)[1] == [(faults.EXIF_UNSURE, text, "left as it is")]
    facts = [ImageFacts(size=(20, 30), stored=(30, 20), orientation=6)]
    assert check([image()], facts)[1] == []


def test_deep_images():
    frames, found = check([image()], [ImageFacts(size=(20, 30), is_deep=True)])
    text = "image 1 (a.png) has 16 bits or floats"
    assert frames[1].is_kept and found == [(faults.DEEP_IMAGE, text, "left as it is")]


def test_images_of_the_validation_set():
    images = [image(), image(id=2, file_name="b"), image(id=3, file_name="c", height=10)]
    facts = [FINE, FINE, ImageFacts(size=(10, 30), is_deep=True)]
    val = ValImages(same={0: "x.png", 2: "c"}, names=frozenset({"b", "c"}))
    frames, found = check(images, facts, val=val)
    assert [(kind, text) for kind, text, _ in found] == [
        (faults.IN_TRAIN_AND_VAL, "image 1 (a.png) is in the validation set too, as x.png"),
        (faults.SAME_NAME, "image 2 (b) is another file in the validation set"),
        (faults.IN_TRAIN_AND_VAL, "image 3 (c) is in the validation set too, as c"),
        (faults.DEEP_IMAGE, "image 3 (c) has 16 bits or floats"),
    ]
    assert [frame.is_kept for frame in frames.values()] == [False, True, False]


def test_groups_and_ids():
    entries = [annotation(), annotation(image_id="x"), annotation(image_id=[1]), 5, annotation()]
    assert {id: len(group) for id, group in group_by_image(entries).items()} == {1: 2, "x": 1}
    assert [is_id(v) for v in (1, "a", True, None, 1.0, [1])] == [True, True, *[False] * 4]


def test_images_of_both_sets():
    train, val = (from_dataset(scene_dataset(n, 4, size=(64, 96)), "x") for n in (3, 2))
    found = compare_images(train, val)
    names = [entry["file_name"] for entry in val.images]
    assert found == ValImages(same=dict(enumerate(names)), names=frozenset(names))
    other = from_dataset(scene_dataset(2, 5, size=(64, 96)), "x")
    assert compare_images(train, other).same == {}
