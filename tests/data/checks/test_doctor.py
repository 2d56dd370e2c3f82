"""A whole diagnosis: categories, references, ids, repeated objects, and what is left."""

import copy

import pytest

from fcis.data.checks import faults
from fcis.data.checks.doctor import diagnose
from fcis.data.checks.image_facts import ImageFacts
from fcis.data.checks.raw import RawDataset, from_dataset
from fcis.data.scenes.shape_scenes import scene_dataset

FACTS = ImageFacts(size=(20, 30), stored=(20, 30))


def square(x, **changes):
    entry = {"id": x, "image_id": 1, "category_id": 1, "bbox": [x, 3, 5, 10], "area": 50,
             "segmentation": [[x, 3, x + 5, 3, x + 5, 13, x, 13]]}  # fmt: skip
    return {**entry, **changes}


def raw_of(annotations, categories=None, images=None):
    images = images or [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}]
    categories = categories or [{"id": 1, "name": "cell"}]
    return RawDataset(
        name="x", document={}, images=images, annotations=annotations, categories=categories,
        sources=(None,) * len(images),
    )  # fmt: skip


def found_in(raw, facts=None, **options):
    """Return the diagnosis, and (kind, sentence, repair) of each finding of a notable size."""
    diagnosis = diagnose(raw, facts or [FACTS] * len(raw.images), **options)
    found = [(f.kind, str(f), f.repair) for f in diagnosis.findings]
    return diagnosis, [item for item in found if item[0] is not faults.SMALL_OBJECTS]


def test_nothing_is_found_in_scenes_and_nothing_changed():
    raw = from_dataset(scene_dataset(3, 4), "x")
    before = copy.deepcopy(raw.document)
    facts = [ImageFacts(size=(256, 256), stored=(256, 256))] * 3
    diagnosis = diagnose(raw, facts)
    unused = {c["id"] for c in raw.categories} - {a["category_id"] for a in raw.annotations}
    assert len(diagnosis.findings) == len(unused) == diagnosis.count("warning")
    assert list(diagnosis.annotations) == raw.annotations
    assert list(diagnosis.categories) == raw.categories
    assert [frame.id for frame in diagnosis.frames] == [1, 2, 3]
    assert raw.document == before


def test_what_is_given_is_not_changed():
    raw = raw_of([square(1), square(8, id=1, bbox=None, area=3000, iscrowd=4)])
    before = copy.deepcopy(raw.annotations)
    diagnosis, found = found_in(raw)
    assert len(found) == 3 and raw.annotations == before
    assert diagnosis.annotations[0] == before[0] and diagnosis.annotations[1]["area"] == 50


def test_ids_of_annotations():
    raw = raw_of([square(1), square(7, id=1), square(13, id=None), square(19, id="x"), "text"])
    diagnosis, found = found_in(raw)
    assert found == [
        (faults.DUPLICATE_ANNOTATION_ID,
         "annotation 1 (image 1, a.png) has the id of an annotation before it", "given the id 2"),
        (faults.BAD_ANNOTATION, "annotation None (image 1, a.png) has no usable 'id'",
         "given the id 3"),
        (faults.BAD_ANNOTATION, "annotation 'number 5' is not a dictionary", "dropped"),
    ]  # fmt: skip
    assert [entry["id"] for entry in diagnosis.annotations] == [1, 2, 3, "x"]


@pytest.mark.parametrize("image_id", [2, None, [1], True])
def test_references_to_no_image(image_id):
    diagnosis, found = found_in(raw_of([square(1), square(8, image_id=image_id)]))
    text = f"annotation 8 refers to image {image_id!r}, which is not among the images"
    assert found == [(faults.UNKNOWN_IMAGE, text, "dropped")]
    assert [entry["id"] for entry in diagnosis.annotations] == [1]


@pytest.mark.parametrize("category_id", [2, None, [1], "1"])
def test_references_to_no_category(category_id):
    entry = square(8, category_id=category_id, area=-1)
    diagnosis, found = found_in(raw_of([square(1), entry]))
    where = "annotation 8 (image 1, a.png)"
    text = f"{where} refers to category {category_id!r}, which is not among the categories"
    assert found == [
        (faults.UNKNOWN_CATEGORY, text, "dropped"),
        (faults.BAD_AREA, f"{where} has the area -1", "dropped"),
    ]
    assert [entry["id"] for entry in diagnosis.annotations] == [1]


def test_categories():
    categories = [
        {"id": 1, "name": "cell"},
        {"id": 1, "name": "cell"},
        {"id": 2, "name": "cell"},
        {"id": 3, "name": "left"},
        {"id": 3, "name": "right"},
        {"id": 4, "name": "none"},
        {"id": True, "name": "bool"},
        {"id": 6},
        "text",
    ]
    entries = [square(1), square(7, category_id=2), square(13, category_id=3),
               square(19, category_id=6)]  # fmt: skip
    diagnosis, found = found_in(raw_of(entries, categories))
    lost = "dropped with the 1 annotations of its id"
    assert found == [
        (faults.BAD_CATEGORY, "category number 7 has the id True and the name 'bool'", "dropped"),
        (faults.BAD_CATEGORY, "category number 8 has the id 6 and the name None", lost),
        (faults.BAD_CATEGORY, "category number 9 has the id None and the name None", "dropped"),
        (faults.DUPLICATE_CATEGORY_ID, "category 1 (cell) is there more than once",
         "dropped; the category before it stays"),
        (faults.DUPLICATE_CATEGORY_NAME, "category 2 (cell) has the name of category 1",
         "merged with category 1"),
        (faults.DUPLICATE_CATEGORY_ID, "category 3 (left) shares its id with another name", lost),
        (faults.DUPLICATE_CATEGORY_ID, "category 3 (right) shares its id with another name", lost),
        (faults.UNUSED_CATEGORY, "category 4 (none) has no object", "left as it is"),
    ]  # fmt: skip
    assert [(e["id"], e["category_id"]) for e in diagnosis.annotations] == [(1, 1), (7, 1)]
    assert [entry["id"] for entry in diagnosis.categories] == [1, 4]


def test_objects_with_the_mask_of_another():
    categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "dot"}]
    masks = square(1)["segmentation"]
    rle = {"size": [20, 30], "counts": [23, *[10] * 9, 487]}
    entries = [
        square(1),
        square(8, bbox=[1, 3, 5, 10], segmentation=rle),
        square(9, bbox=[1, 3, 5, 10], segmentation=masks, category_id=2),
        square(10, bbox=[1, 3, 5, 10], segmentation=masks, iscrowd=1),
    ]
    diagnosis, found = found_in(raw_of(entries, categories))
    text = "(image 1, a.png) has the mask of annotation 1"
    assert found == [
        (faults.DUPLICATE_OBJECT, f"annotation 8 {text}", "dropped"),
        (faults.DUPLICATE_OBJECT, f"annotation 9 {text}, of another category", "left as it is"),
    ]
    assert [entry["id"] for entry in diagnosis.annotations] == [1, 9, 10]


def test_images_of_one_file_become_one():
    images = [{"id": i, "file_name": "a.png", "height": 20, "width": 30} for i in (1, 2)]
    diagnosis, found = found_in(raw_of([square(1), square(8, image_id=2)], images=images))
    assert [kind for kind, *_ in found] == [faults.DUPLICATE_FILE]
    assert [frame.id for frame in diagnosis.frames] == [1]
    assert [entry["image_id"] for entry in diagnosis.annotations] == [1, 1]


def test_what_is_wrong_in_a_dropped_image_goes_with_it():
    raw = raw_of([square(1), square(8, area=-1)])
    diagnosis, found = found_in(raw, [ImageFacts(is_missing=True, problem="has no file")])
    assert diagnosis.frames == () and diagnosis.annotations == ()
    assert found == [
        (faults.MISSING_FILE, "image 1 (a.png) has no file", "dropped with its 2 annotations"),
        (faults.BAD_AREA, "annotation 8 (image 1, a.png) has the area -1",
         "dropped with its image"),
    ]  # fmt: skip


def test_images_without_objects():
    images = [{"id": i, "file_name": f"{i}", "height": 20, "width": 30} for i in (1, 2, 3)]
    entries = [square(1), square(8, image_id=2, segmentation=None)]
    _, found = found_in(raw_of(entries, images=images))
    assert [(text, repair) for kind, text, repair in found if kind is faults.NO_OBJECTS] == [
        ("image 2 (2) has no object", "left as it is"),
        ("image 3 (3) has no object", "left as it is"),
    ]


def test_small_objects():
    raw = raw_of([square(1), square(8), square(15, iscrowd=1)])  # 5 x 10: 7.07 px
    (finding,) = diagnose(raw, [FACTS]).findings
    assert str(finding) == "2 of 2 objects (100%) are below 8 px in their images"
    assert diagnose(raw, [FACTS], factor_of=lambda size: 8 / size[0] * 3).findings == ()
    (finding,) = diagnose(raw, [FACTS], factor_of=lambda size: 1.1).findings
    assert str(finding).endswith("are below 8 px after resizing as the recipe says")
