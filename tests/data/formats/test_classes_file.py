"""classes.json."""

import json

import pytest

from fcis.core.errors import InputError
from fcis.data.dataset import Category
from fcis.data.formats.classes_file import folder_classes, write_classes


def classes(path, folders=(), content=None):
    if content is not None:
        (path / "classes.json").write_text(json.dumps(content))
    return {name: (c.id, c.name) for name, c in folder_classes(path, folders).items()}


def test_without_a_file(tmp_path):
    assert classes(tmp_path) == {"": (1, "object")}
    assert classes(tmp_path, ["b", "a"]) == {"a": (1, "a"), "b": (2, "b")}


def test_a_list_of_names(tmp_path):
    assert classes(tmp_path, [], ["b", "a"]) == {"b": (1, "b"), "a": (2, "a")}
    assert classes(tmp_path, [], ["cell"]) == {"": (1, "cell")}
    assert classes(tmp_path, ["cell"], ["cell"]) == {"cell": (1, "cell")}


def test_ids_and_folders(tmp_path):
    content = [{"id": 7, "name": "a/b", "folder": "ab"}, {"id": 3, "name": "c"}]
    assert classes(tmp_path, ["ab"], content) == {"ab": (7, "a/b"), "c": (3, "c")}
    # and from the folder below, so that a split has the classes of the whole
    (tmp_path / "train").mkdir()
    assert classes(tmp_path / "train") == {"ab": (7, "a/b"), "c": (3, "c")}


def test_what_is_written_is_read(tmp_path):
    categories = [Category(id=3, name="\u00e4/b"), Category(id=90, name="c")]
    write_classes(tmp_path, ["x", "c"], categories)
    assert classes(tmp_path) == {"x": (3, "\u00e4/b"), "c": (90, "c")}


def test_a_folder_that_is_not_listed(tmp_path):
    with pytest.raises(
        InputError, match=r"classes\.json: the folder of masks 'd' is not in it \(a"
    ):
        classes(tmp_path, ["a", "d"], ["a", "b"])


@pytest.mark.parametrize("entry", [3, {"id": 1}, {"name": "a"}, {"id": "1", "name": "a"}, "", "a"])
def test_bad_entries(tmp_path, entry):
    with pytest.raises(InputError, match=r"classes\.json: entry number 2 is .*; write a name, or"):
        classes(tmp_path, [], ["a", entry])


@pytest.mark.parametrize("content", [[], {}, 3, [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]])
def test_no_classes(tmp_path, content):
    with pytest.raises(InputError, match=r"classes\.json: no list of classes with different ids"):
        classes(tmp_path, [], content)


def test_broken_json(tmp_path):
    (tmp_path / "classes.json").write_text("[")
    with pytest.raises(InputError, match=r"classes\.json: not valid JSON \(.*\); correct it"):
        classes(tmp_path)
