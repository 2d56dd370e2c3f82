import argparse
import json

import pytest

from fcis.cli.common import (
    averaging_of,
    check_file,
    make_folder,
    open_predictor,
    progress,
    size_text,
    tiling_of,
    with_size,
    write_json,
)
from fcis.core.errors import InputError
from fcis.inference.test_time.scales import Scale
from fcis.inference.tiling.tile_grid import Tiling
from fcis.recipe.named import named_recipe


@pytest.mark.parametrize(
    ("text", "expected"), [("600", (600, 0)), ("600:1000", (600, 1000)), ("16:16", (16, 16))]
)
def test_with_size(text, expected):
    before = named_recipe("tiny").model
    after = with_size(before, text)
    assert (after.preprocessing.short_side, after.preprocessing.long_side) == expected
    assert after.backbone == before.backbone
    assert after.preprocessing.mean == before.preprocessing.mean


@pytest.mark.parametrize("text", ["", "15", "x", "600:", ":600", "600:500", "-5", "6e2", "²"])
def test_bad_sizes(text):
    with pytest.raises(InputError, match=r"^--size .*: expected SHORT or SHORT:LONG in pixels"):
        with_size(named_recipe("tiny").model, text)


def test_averaging_of():
    def read(**given):
        usual = {"scales": None, "flip": False, "roi_side": 224.0}
        return averaging_of(argparse.Namespace(**usual | given))

    assert read().scales == () and not read().flip and read().roi_side == 224
    found = read(scales="480, 2x", flip=True, roi_side=45.0)
    assert found.scales == (Scale(side=480), Scale(factor=2.0))
    assert found.flip and found.roi_side == 45
    for scales in ("", "480,", "480;576"):
        with pytest.raises(InputError, match=r"^scales .*: expected up to 16 shorter sides"):
            read(scales=scales)


def test_a_size_is_for_all_networks(tiny_weights):
    predictor = open_predictor([str(tiny_weights)] * 2, "32:64", "cpu")
    sides = [network.recipe.preprocessing.short_side for network in predictor.ensemble.networks]
    assert sides == [32, 32]


def test_weights_that_nobody_named_are_said(add_to_zoo, capsys):
    add_to_zoo("cells", "fluorescence")
    predictor = open_predictor(None, None, "cpu")
    assert predictor.info.about == "fluorescence"
    assert capsys.readouterr() == ("", "weights: cells (fluorescence); --weights names others\n")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 KiB"), (1500, "1 KiB"), (2**20 - 600, "1023 KiB"), (2**20, "1.0 MiB")],
)
def test_sizes(size, text):
    assert size_text(size) == text


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


def test_progress_is_silent_for_short_work(capsys):
    assert list(progress([1, 2, 3], total=3, what="counting")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_progress_shows_long_work(capsys, monkeypatch):
    import time

    from tqdm import tqdm

    start = time.time()
    clock = iter(range(1000))
    monkeypatch.setattr(tqdm, "_time", None, raising=False)
    monkeypatch.setattr("tqdm.std.time", lambda: start + 40 * next(clock))
    list(progress(range(3), total=3, what="counting"))
    out, err = capsys.readouterr()
    assert out == "" and "counting" in err and "3/3" in err and "image" in err


def test_tiling_of():
    def read(tile, overlap):
        return tiling_of(argparse.Namespace(tile=tile, overlap=overlap))

    assert read(None, None) is None
    assert read(512, 100) == Tiling(size=512, overlap=100)
    assert read(512, None).overlap == 128
    with pytest.raises(InputError, match=r"--overlap 100: is for tiles; add --tile SIZE"):
        read(None, 100)
