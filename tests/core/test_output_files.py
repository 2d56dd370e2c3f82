import errno
import json
import os

import pytest
import torch
from matplotlib.figure import Figure

from fcis.core.errors import InputError
from fcis.core.output_files import (
    cannot_write,
    check_file,
    check_picture,
    make_folder,
    put_file,
    write_json,
    write_picture,
    write_text,
)


def test_write_json_leaves_no_partial_file(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"x": [1, None]})
    assert json.loads(path.read_text()) == {"x": [1, None]}
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_write_json_refuses(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/x\.json: cannot be written \(.+\); make room"):
        write_json(tmp_path / "file" / "x.json", [])


def test_make_folder(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: the folder cannot be made \(File exists\)"):
        make_folder(tmp_path / "file")


@pytest.mark.parametrize("check", [make_folder, lambda p: check_file("--json", p / "x")])
def test_folders_without_rights(tmp_path, monkeypatch, check):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match="cannot be written; choose another"):
        check(tmp_path)


def test_check_file_makes_the_folder_alone(tmp_path):
    check_file("--json", tmp_path / "a" / "x.json")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_text(tmp_path):
    write_text(tmp_path / "a" / "x.md", "é\n")
    assert (tmp_path / "a" / "x.md").read_bytes() == b"\xc3\xa9\n"


def test_pictures(tmp_path):
    check_picture("--plot", tmp_path / "a" / "x.PNG")
    with pytest.raises(InputError, match=r"--plot .*x\.txt: must end in \.png, \.pdf, \.svg"):
        check_picture("--plot", tmp_path / "a" / "x.txt")
    write_picture(tmp_path / "a" / "x.svg", Figure())
    assert b"<svg" in (tmp_path / "a" / "x.svg").read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"x\.png: cannot be written \(.+\); make room or choose"):
        write_picture(tmp_path / "file" / "x.png", Figure())


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDisk:
    """A file on a disk that has room for so many bytes more."""

    def __init__(self, room):
        self.room = room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise FULL
        return len(data)

    def flush(self):
        pass


def test_a_file_is_put_in_place_of_another(tmp_path):
    path = tmp_path / "a.bin"
    put_file(path, lambda file: file.write(b"first"))
    put_file(path, lambda file: file.write(b"second"))
    assert path.read_bytes() == b"second" and os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("kind", ["plain", "torch", "last moment"])
def test_a_full_disk_leaves_the_previous_file(tmp_path, kind):
    """What torch raises then is a RuntimeError about a position in the file."""
    path = tmp_path / "a.bin"
    put_file(path, lambda file: file.write(b"first"))

    def write(file):
        file.write(b"half")
        if kind == "plain":
            raise FULL
        if kind == "torch":
            torch.save({"weights": torch.zeros(10_000)}, FullDisk(20_000))
        file.close()
        raise FULL

    with pytest.raises(InputError) as caught:
        put_file(path, write)
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); make room or choose another place"
    )
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a.bin"], "the part that was written takes room"


def test_other_errors_stay_what_they_are(tmp_path):
    def write(_):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        put_file(tmp_path / "a.bin", write)


@pytest.mark.parametrize("exists", [False, True])
def test_an_interruption_leaves_the_previous_file(tmp_path, exists):
    path = tmp_path / "a.bin"
    if exists:
        path.write_bytes(b"first")

    def write(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_file(path, write)
    assert os.listdir(tmp_path) == (["a.bin"] if exists else [])
    assert not exists or path.read_bytes() == b"first"


def test_permissions_are_handed_on(tmp_path):
    path = tmp_path / "a.bin"
    put_file(path, lambda file: file.write(b"first"))
    path.chmod(0o640)
    put_file(path, lambda file: file.write(b"second"))
    assert path.stat().st_mode & 0o777 == 0o640


def test_errors_without_words_of_the_system(tmp_path):
    error = cannot_write(tmp_path, OSError("encoder error"), "say so")
    assert str(error) == f"{tmp_path}: cannot be written (encoder error); say so"
