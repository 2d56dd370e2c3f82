"""PATH:SPLIT, lists and folders."""

import warnings
from pathlib import Path

import pytest

from fcis.core.errors import InputError
from fcis.data.formats.folders import (
    check_folders,
    choose_split,
    find_root,
    no_split,
    read_list,
    read_text,
    split_data,
    watched,
)


def test_a_path_and_its_split(tmp_path):
    root = tmp_path / "set"
    (root / "a").mkdir(parents=True)
    assert split_data(str(root)) == (root, None)
    assert split_data(f"{root}:val") == (root, "val")
    assert split_data(f"{root}:") == (root, "")
    assert split_data(f"{tmp_path}/else:val") == (tmp_path / "else:val", None)
    # a path may have a colon in it
    assert split_data(f"{root}:a/b") == (Path(f"{root}:a/b"), None)
    (tmp_path / "set:val").mkdir()
    assert split_data(f"{root}:val") == (tmp_path / "set:val", None)
    assert split_data(f"{root}:val:val") == (tmp_path / "set:val", "val")
    assert split_data(":val") == (Path(":val"), None)


def test_the_split_asked_for():
    assert choose_split(Path("x"), "a", ["a", "b"]) == "a"
    assert choose_split(Path("x"), None, ["a"]) == "a"
    with pytest.raises(InputError, match=r"^x: has the splits a, b; write x:b$"):
        choose_split(Path("x"), None, ["a", "b"])
    with pytest.raises(InputError, match=r"^x: has no split '', it has the split a; write x:a$"):
        choose_split(Path("x"), "", ["a"])


def test_no_split():
    no_split(Path("x"), None, "a cat")
    with pytest.raises(InputError, match=r"^x:val: a cat has no splits; leave out :val and name"):
        no_split(Path("x"), "val", "a cat")


def test_roots(tmp_path):
    (tmp_path / "deep" / "a").mkdir(parents=True)
    (tmp_path / "deep" / "b").mkdir()
    assert find_root(tmp_path, ["deep"], ["a", "b"]) == tmp_path / "deep"
    assert find_root(tmp_path / "deep", ["deep"], ["a", "b"]) == tmp_path / "deep"
    assert find_root(tmp_path, ["deep"], ["a", "c"]) is None
    check_folders(tmp_path / "deep", ["a", "b"])
    with pytest.raises(
        InputError, match=r"c: no such folder, though .* has others of a, c; restore"
    ):
        check_folders(tmp_path / "deep", ["a", "c"])


def test_lists(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xef\xbb\xbfb 1\r\n\r\na  -1\r\nb 1")
    assert read_list(path) == ["b", "a"]
    path.write_text("\n \n")
    with pytest.raises(InputError, match=r"x\.txt: the list is empty; write the name of an image"):
        read_list(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"x\.txt: cannot be read \(No such file.*\); check"):
        read_text(tmp_path / "x.txt")
    (tmp_path / "x.txt").write_bytes(b"\xe4")
    with pytest.raises(InputError, match=r"x\.txt: is not text in UTF-8; save it as that"):
        read_text(tmp_path / "x.txt")


def test_short_work_is_silent(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(watched([3, 1], "counting")) == [3, 1]
    assert capsys.readouterr().err == ""
