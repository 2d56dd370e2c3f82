import json

import pytest
from matplotlib.figure import Figure

from fcis.core.errors import InputError
from fcis.core.output_files import (
    check_file,
    check_picture,
    make_folder,
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
    with pytest.raises(InputError, match=r"x\.png: cannot be written \(No such file"):
        write_picture(tmp_path / "none" / "x.png", Figure())
