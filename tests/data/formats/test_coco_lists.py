"""The lists of COCO files: ids, references, and entries that are none."""

from pathlib import Path

import pytest

from fcis.data.checks import faults
from fcis.data.checks.faults import Changed, Dropped
from fcis.data.dataset import Category, FileSource
from fcis.data.formats.coco_lists import CocoLists, file_name

CELL = {"id": 1, "name": "cell"}


def image(**changes):
    return {"id": 1, "file_name": "a.png", "height": 20, "width": 30, **changes}


def annotation(id, **changes):
    return {"id": id, "image_id": 1, "category_id": 1, "segmentation": 5, **changes}


def read(images=(), annotations=(), categories=(CELL,)):
    """Return the lists, the images that are left, and (kind, sentence, fix) of each finding."""
    lists = CocoLists(list(images), list(annotations), list(categories), Path("folder"))
    found = [(f.kind, str(f), f.fix) for f in lists.findings]
    return lists, list(lists.images()), found


def objects(raw):
    return list(raw.objects((1, 1)))


def test_good_lists():
    entry = annotation("x", bbox=[1, 2, 3, 4], area=9, iscrowd=1)
    lists, (first, second), found = read([image(), image(id="b", file_name="b\\c.png")], [entry])
    assert found == [] and lists.categories == (Category(id=1, name="cell"),)
    assert lists.category_entries == [CELL]
    assert (first.id, first.file_name, first.stated) == (1, "a.png", (20, 30))
    assert second.source == FileSource(path=Path("folder/b/c.png"))
    (raw,) = objects(first)
    assert raw.where == "annotation 'x' (image 1, a.png)" and raw.entry is entry
    assert (raw.id, raw.category_id, raw.segmentation, raw.bbox) == ("x", 1, 5, [1, 2, 3, 4])
    assert (raw.area, raw.is_crowd, objects(second)) == (9, 1, [])


def test_what_is_given_is_not_changed():
    entry = annotation(1)
    lists = CocoLists([image()], [entry, entry | {"area": 4}], [CELL], Path())
    (first,) = lists.images()
    assert [raw.id for raw in objects(first)] == [1, 2] and entry == annotation(1)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (image(id=None), "a.png: image number 1 has the id None"),
        (image(id=True), "a.png: image number 1 has the id True"),
        (image(id=[1], file_name=None), "image number 1 has the id [1]"),
        (image(file_name=""), "image 1 has no 'file_name'"),
        (image(file_name=5), "image 1 has no 'file_name'"),
        ("text", "'images' is not a list of dictionaries: number 1 is 'text'"),
    ],
)
def test_images_that_cannot_be_used(entry, text):
    _, images, found = read([entry])
    assert images == [] and found == [(faults.BAD_IMAGE, text, Dropped())]


@pytest.mark.parametrize("value", [None, 0, -20, 2.5, "20", 2**31])
def test_sizes_that_cannot_be_used_come_from_the_file(value):
    _, (raw,), _ = read([image(height=value)])
    (problem,) = raw.problems
    assert problem.text == f"needs a positive 'height' and 'width', got {value!r} and 30"
    assert (problem.fix, raw.stated) == (Changed("size taken from the file"), None)


def test_one_id_for_several_files_and_for_one_file_twice():
    entries = [image(), image(file_name="b.png"), image(file_name="c.png"), image(id=2)]
    _, images, found = read(entries, [annotation(1), annotation(2), annotation(3, image_id=2)])
    assert [raw.id for raw in images] == [2] and len(objects(images[0])) == 1
    fix = Dropped(" with its 2 annotations")
    assert found == [
        (faults.DUPLICATE_IMAGE_ID, f"{name}.png: image id 1 occurs more than once", fix)
        for name in "abc"
    ]
    _, (only,), found = read([image(), image()])
    fix = Dropped("; the image before it stays")
    text = "a.png: image id 1 occurs more than once"
    assert only.id == 1 and found == [(faults.DUPLICATE_IMAGE_ID, text, fix)]


def test_categories():
    categories = [
        CELL,
        CELL,
        {"id": 3, "name": "left"},
        {"id": 3, "name": "right"},
        {"id": "4", "name": "text"},
        {"id": True, "name": "bool"},
        {"id": 6},
        "text",
        {"id": 0, "name": "dot"},
    ]
    entries = [annotation(1), annotation(2, category_id=3), annotation(3, category_id=6)]
    lists, (raw,), found = read([image()], entries, categories)
    lost = Dropped(" with the 1 annotation of its id")
    assert found == [
        (faults.DUPLICATE_CATEGORY_ID, "category id 1 occurs more than once, as 'cell'",
         Dropped("; the category before it stays")),
        (faults.DUPLICATE_CATEGORY_ID, "category id 3 occurs more than once, as 'left'", lost),
        (faults.DUPLICATE_CATEGORY_ID, "category id 3 occurs more than once, as 'right'", lost),
        (faults.BAD_CATEGORY, "category id '4' is text", Dropped()),
        (faults.BAD_CATEGORY, "category number 6 has the id True", Dropped()),
        (faults.BAD_CATEGORY, "category 6 has no 'name'", lost),
        (faults.BAD_CATEGORY, "'categories' is not a list of dictionaries: number 8 is 'text'",
         Dropped()),
    ]  # fmt: skip
    assert [category.id for category in lists.categories] == [0, 1]
    assert [entry["id"] for entry in lists.category_entries] == [1, 0]
    assert [each.id for each in objects(raw)] == [1]


def test_ids_of_annotations():
    entries = [
        annotation(1), annotation(1), annotation(None), annotation("x"), annotation(1, image_id=9),
        "text",
    ]  # fmt: skip
    _, (raw,), found = read([image()], entries)
    assert found == [
        (faults.DUPLICATE_ANNOTATION_ID, "image 1 (a.png): annotation id 1 occurs more than once",
         Changed("given the id 2")),
        (faults.BAD_ANNOTATION, "image 1 (a.png): annotation number 3 has the id None",
         Changed("given the id 3")),
        (faults.DUPLICATE_ANNOTATION_ID, "annotation id 1 occurs more than once",
         Changed("given the id 4")),
        (faults.UNKNOWN_IMAGE, "annotation 1 refers to image 9, which is not among the images",
         Dropped()),
        (faults.BAD_ANNOTATION, "'annotations' is not a list of dictionaries: number 6 is 'text'",
         Dropped()),
    ]  # fmt: skip
    assert [each.id for each in objects(raw)] == [1, 2, 3, "x"]


@pytest.mark.parametrize("image_id", [2, None, [1], True])
def test_references_to_no_image(image_id):
    lists, (raw,), found = read([image()], [annotation(1), annotation(8, image_id=image_id)])
    text = f"annotation 8 refers to image {image_id!r}, which is not among the images"
    assert found == [(faults.UNKNOWN_IMAGE, text, Dropped())]
    assert lists.findings[0].annotation_id == 8 and len(objects(raw)) == 1


def test_file_names():
    names = [file_name({"file_name": value}) for value in ("a\\b.png", "", 3, None)]
    assert names == ["a/b.png", None, None, None] and file_name(5) is None
