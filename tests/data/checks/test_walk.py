"""A whole check: categories, references, repeated objects, images, and what is left."""

import pytest
from tests.data.checks.raws import CELL, DOT, found_in, ids, image, raw_with, square

from fcis.data.checks import faults
from fcis.data.checks.check import FaultsFound, check, refuse
from fcis.data.checks.faults import Changed, Dropped, Kept, Problem
from fcis.data.checks.raw import raw_of
from fcis.data.dataset import Category, FileSource
from fcis.data.scenes.shape_scenes import scene_dataset


def test_nothing_is_found_in_scenes_and_nothing_changed():
    dataset = scene_dataset(3, 4)
    checked = check(raw_of(dataset))
    used = {a.category_id for record in dataset.images for a in record.annotations}
    unused = [category for category in dataset.categories if category.id not in used]
    assert len(checked.findings) == len(unused) == checked.count("warning")
    assert checked.dataset == dataset == refuse(raw_of(dataset))
    assert checked.counts == (3, sum(len(r.annotations) for r in dataset.images), 8)


@pytest.mark.parametrize("category_id", [2, None, [1], "1"])
def test_references_to_no_category(category_id):
    lost = square(8, category_id=category_id, area=-1)
    checked, found = found_in(raw_with(image(square(1), lost)))
    text = f"object 8 refers to category {category_id!r}, which is not among the categories"
    assert found == [
        (faults.UNKNOWN_CATEGORY, text, Dropped()),
        (faults.BAD_AREA, "object 8 has the area -1", Dropped()),
    ]
    assert ids(checked) == [1]


def test_categories_of_one_name_become_one():
    other = Category(id=2, name="cell")
    categories = (CELL, other, Category(id=4, name="none"))
    checked, found = found_in(
        raw_with(image(square(1), square(7, category_id=2)), categories=categories)
    )
    assert found == [
        (faults.DUPLICATE_CATEGORY_NAME, "category 2 (cell) has the name of category 1",
         Changed("merged with category 1")),
        (faults.UNUSED_CATEGORY, "category 4 (none) has no object", Kept()),
    ]  # fmt: skip
    annotations = checked.dataset.images[0].annotations
    assert [(a.id, a.category_id) for a in annotations] == [(1, 1), (7, 1)]
    assert [category.id for category in checked.dataset.categories] == [1, 4]
    # reading keeps them apart, as formats that know classes by number do
    kept = refuse(raw_with(image(square(1), square(7, category_id=2)), categories=categories))
    assert len(kept.categories) == 3


def test_objects_with_the_mask_of_another():
    masks = square(1).segmentation
    rle = {"size": [20, 30], "counts": [23, *[10] * 9, 487]}
    objects = [
        square(1),
        square(8, bbox=None, segmentation=rle),
        square(9, bbox=None, segmentation=masks, category_id=2),
        square(10, bbox=None, segmentation=masks, is_crowd=1),
    ]
    checked, found = found_in(raw_with(image(*objects), categories=(CELL, DOT)))
    assert found == [
        (faults.DUPLICATE_OBJECT, "object 8 has the mask of object 1", Dropped()),
        (faults.DUPLICATE_OBJECT, "object 9 has the mask of object 1, of another category", Kept()),
    ]
    assert ids(checked) == [1, 9, 10]


def test_images_of_one_file_become_one(save, tmp_path):
    source = FileSource(path=save(tmp_path / "a.png", 20, 30))
    raw = raw_with(
        image(square(1), source=source), image(square(8), source=source, id=2), image(id=3)
    )
    checked, found = found_in(raw)
    assert found == [
        (faults.DUPLICATE_FILE, "image 2 (2.png) is the file of image 1 too",
         Changed("its annotations given to image 1")),
        (faults.NO_OBJECTS, "image 3 (3.png) has no object", Kept()),
    ]  # fmt: skip
    assert [record.id for record in checked.dataset.images] == [1, 3]
    assert ids(checked) == [1, 8] and checked.counts == (3, 2, 1)


def test_what_is_wrong_in_a_dropped_image_goes_with_it(tmp_path):
    missing = FileSource(path=tmp_path / "a.png")
    checked, found = found_in(raw_with(image(square(1), square(8, area=-1), source=missing)))
    assert checked.dataset.images == ()
    lost = Dropped(" with its 2 annotations")
    assert found[:2] == [
        (faults.MISSING_FILE, f"image 1 (1.png) has no file {missing}", lost),
        (faults.BAD_AREA, "object 8 has the area -1", Dropped(" with its image")),
    ]


def test_what_the_reader_has_met():
    lost = Problem(faults.DAMAGED_RLE, "cannot be read", "copy it again")
    raw = raw_with(image(square(1), where="masks/1.png:", problems=(lost,)), image(id=2))
    checked, found = found_in(raw)
    text = "masks/1.png: cannot be read"
    assert found[0] == (faults.DAMAGED_RLE, text, Dropped(" with its 1 annotation"))
    assert [record.id for record in checked.dataset.images] == [2]
    with pytest.raises(FaultsFound, match=rf"^{text}; copy it again$"):
        refuse(raw)


def test_images_without_objects():
    raw = raw_with(image(square(1)), image(square(8, segmentation=None), id=2), image(id=3))
    _, found = found_in(raw)
    assert [(text, fix) for kind, text, fix in found if kind is faults.NO_OBJECTS] == [
        ("image 2 (2.png) has no object", Kept()),
        ("image 3 (3.png) has no object", Kept()),
    ]


def test_images_of_both_sets():
    raw, val = raw_with(image(square(1))), raw_with(image(id=7))
    checked, found = found_in(raw, val=val)
    text = "image 1 (1.png) is in the validation set too, as 7.png"
    assert found[0] == (faults.IN_TRAIN_AND_VAL, text, Dropped(" with its 1 annotation"))
    assert checked.dataset.images == ()


def test_small_objects():
    raw = raw_with(image(square(1), square(8), square(15, is_crowd=1)))  # 5 x 10: 7.07 px
    (finding,) = check(raw).findings
    assert str(finding) == "2 of 2 objects (100%) are below 8 px in their images"
    assert check(raw, factor_of=lambda size: 8 / size[0] * 3).findings == ()
    (finding,) = check(raw, factor_of=lambda size: 1.1).findings
    assert str(finding).endswith("are below 8 px after resizing as the recipe says")
