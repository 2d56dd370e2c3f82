import json

import pytest

from fcis.weights.foreign.categories import categories_of


def test_coco_is_that_of_its_annotations(shared):
    path = shared / "data" / "coco-mini" / "annotations" / "instances_val2017.json"
    categories = json.loads(path.read_text())["categories"]
    name, names, ids = categories_of(80)
    assert name == "COCO"
    assert list(zip(ids, names, strict=True)) == [(c["id"], c["name"]) for c in categories]


def test_voc_is_in_alphabetical_order():
    name, names, ids = categories_of(20)
    assert (name, ids) == ("VOC", tuple(range(1, 21)))
    assert names == tuple(sorted(names)) and len(set(names)) == 20
    # reference 7.3
    assert (names[0], names[10], names[14], names[19]) == (
        "aeroplane", "diningtable", "person", "tvmonitor",
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 3, 21])
def test_others_are_numbered(count):
    name, names, ids = categories_of(count)
    assert (name, ids) == ("", tuple(range(1, count + 1)))
    assert names[0] == "class 1" and names[-1] == f"class {count}" and len(names) == count
