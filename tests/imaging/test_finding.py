from pathlib import Path

import pytest

from fcis.core.errors import InputError
from fcis.imaging.finding import find_images


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(inputs) -> list[str]:
    found = find_images(inputs)
    assert all(image.path.is_file() for image in found)
    return [image.name for image in found]


def test_folder_is_searched_in_order(tmp_path):
    touch(
        tmp_path,
        "b/1.png",
        "a/1.png",
        "a/2.JPG",
        "z.tiff",
        "notes.txt",
        "a/._1.png",
        ".cache/x.png",
    )
    assert names([tmp_path]) == ["a/1", "a/2", "b/1", "z"]
    assert find_images([tmp_path])[0].path == tmp_path / "a" / "1.png"


def test_single_files_take_any_suffix(tmp_path):
    touch(tmp_path, "x.dat", "cells.v2.png")
    assert names([str(tmp_path / "x.dat"), tmp_path / "cells.v2.png"]) == ["x", "cells.v2"]


def test_patterns(tmp_path):
    touch(tmp_path, "s1/a/1.png", "s1/b/1.png", "s2/b/1.png", "s1/b/notes.txt")
    assert names([f"{tmp_path}/s1/*/*"]) == ["a/1", "b/1"]
    assert names([f"{tmp_path}/s1/**/*.png"]) == ["a/1", "b/1"]
    assert names([f"{tmp_path}/*/b/1.png"]) == ["s1/b/1", "s2/b/1"]


def test_patterns_of_the_current_folder(tmp_path, monkeypatch):
    touch(tmp_path, "2.png", "1.png", "in/3.png")
    monkeypatch.chdir(tmp_path)
    assert names(["*.png"]) == ["1", "2"]
    assert names(["./*.png"]) == ["1", "2"]
    assert names(["."]) == ["1", "2", "in/3"]
    assert find_images(["1.png"])[0].path == Path("1.png")


def test_a_file_with_brackets_in_its_name_is_a_file(tmp_path):
    touch(tmp_path, "x[1].png")
    assert names([tmp_path / "x[1].png"]) == ["x[1]"]


def test_equal_names_take_more_of_the_path(tmp_path):
    touch(tmp_path, "p/a/1.png", "q/a/1.png", "q/a/2.png")
    assert names([tmp_path / "p/a/1.png", tmp_path / "q/a/1.png"]) == ["p/a/1", "q/a/1"]
    assert names([tmp_path / "p", tmp_path / "q"]) == ["p/a/1", "q/a/1", "a/2"]
    assert names([tmp_path]) == ["p/a/1", "q/a/1", "q/a/2"]


def test_equal_names_in_one_folder_keep_their_suffix(tmp_path):
    touch(tmp_path, "1.png", "1.jpg", "2.png")
    assert names([tmp_path]) == ["1.jpg", "1.png", "2"]
    touch(tmp_path, "1.png.jpg")
    assert names([tmp_path]) == ["1.jpg", "1.png", "1.png.jpg", "2"]


def test_a_file_given_twice_is_taken_once(tmp_path):
    touch(tmp_path, "1.png", "2.png")
    assert names([tmp_path / "2.png", tmp_path, f"{tmp_path}/*.png"]) == ["2", "1"]


def test_nothing_found(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"no input given: name an image file, a folder"):
        find_images([])
    with pytest.raises(InputError, match=r"no images in this folder; it looks for .*\.png"):
        find_images([tmp_path])
    with pytest.raises(InputError, match=r"none\.png: no such file or folder; check the spelling"):
        find_images([tmp_path / "none.png"])
    with pytest.raises(InputError, match=r"\*\.png: no image file matches this pattern"):
        find_images([f"{tmp_path}/*.png"])
