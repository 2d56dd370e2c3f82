"""Pictures of numbers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from fcis.core.errors import InputError
from fcis.data.formats.instance_map import (
    check_size,
    crops_of,
    read_foreground,
    read_ids,
)

IDS = np.array([[0, 1, 1], [200, 0, 7]])


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        (np.uint8, ".png"),
        (np.uint16, ".png"),
        (np.uint8, ".tif"),
        (np.uint16, ".tif"),
        (np.int32, ".tif"),
        (np.float32, ".tif"),
    ],
)
def test_depths(tmp_path, kind, suffix):
    scale = 1 if kind is np.uint8 else 300
    path = tmp_path / f"x{suffix}"
    Image.fromarray((IDS * scale).astype(kind)).save(path)
    np.testing.assert_array_equal(read_ids(path), IDS * scale)


def test_palettes_and_grey_in_colour(tmp_path):
    path = tmp_path / "x.png"
    picture = Image.fromarray(IDS.astype(np.uint8))
    indices = Image.new("P", picture.size)
    indices.putpalette(bytes(range(255, -1, -1)) * 3)
    indices.putdata(IDS.ravel().tolist())
    for changed in (
        indices,
        picture.convert("RGB"),
        picture.convert("LA"),
        picture.convert("RGBA"),
    ):
        changed.save(path)
        np.testing.assert_array_equal(read_ids(path), IDS)
    Image.fromarray(IDS > 0).save(path)
    np.testing.assert_array_equal(read_ids(path), IDS > 0)


def test_colours_are_refused(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3)).save(path)
    with pytest.raises(InputError, match=r"x\.png: is a picture in colours; masks need one number"):
        read_ids(path)


@pytest.mark.parametrize("value", [-1, 2**20, 0.5])
def test_values_that_are_no_numbers_of_objects(tmp_path, value):
    path = tmp_path / "x.tif"
    Image.fromarray(np.full((2, 2), value, np.float32 if value == 0.5 else np.int32)).save(path)
    with pytest.raises(InputError, match=r"x\.tif: holds values from .* are whole and from 0 "):
        read_ids(path)


def test_values_that_are_not_finite(tmp_path):
    Image.fromarray(np.full((2, 2), np.nan, np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(InputError, match=r"x\.tif: holds values that are no numbers; save it"):
        read_ids(tmp_path / "x.tif")


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "x.png"
    with pytest.raises(InputError, match=r"x\.png: no such file; restore it"):
        read_ids(path)
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"x\.png: cannot be read as a picture \(.*\); export it"):
        read_ids(path)
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (50, 50), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match=r"x\.png: cannot be read as a picture \(.*\); export it"):
        read_foreground(path)


def test_no_program_is_started(tmp_path, monkeypatch):
    def start(*arguments, **options):
        raise AssertionError("a picture starts Ghostscript")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 16\n%%EndComments\n%%EOF\n")
    with pytest.raises(InputError, match=r"x\.png: cannot be read as a picture \(not an image "):
        read_ids(path)


def test_foreground(tmp_path):
    path = tmp_path / "x.png"
    rgba = np.zeros((2, 3, 4), dtype=np.uint8)
    rgba[..., 3] = 255  # opaque black is background
    rgba[1, 2, 1] = 9
    Image.fromarray(rgba).save(path)
    np.testing.assert_array_equal(read_foreground(path), [[0, 0, 0], [0, 0, 1]])
    Image.fromarray(IDS.astype(np.uint8)).save(path)
    np.testing.assert_array_equal(read_foreground(path), IDS > 0)


def test_crops():
    (one, a), (seven, b), (many, c) = crops_of(IDS)
    assert (one, seven, many) == (1, 7, 200)
    assert (a.top, a.left, a.bits.tolist()) == (0, 1, [[True, True]])
    assert (b.top, b.left, b.area) == (1, 2, 1)
    assert (c.top, c.left, c.area) == (1, 0, 1)
    assert crops_of(np.zeros((2, 3), dtype=np.uint8)) == []


def test_a_crop_holds_its_own_number_alone():
    ids = np.array([[1, 1, 1], [1, 2, 1], [1, 1, 1]])
    (_, ring), (_, middle) = crops_of(ids)
    np.testing.assert_array_equal(ring.bits, ids == 1)
    assert middle.bits.tolist() == [[True]]


def test_sizes():
    check_size(Path("m.png"), (2, 3), Path("i.png"), (2, 3))
    with pytest.raises(
        InputError, match=r"^m\.png: is 3 x 2 pixels \(width x height\), but i\.png is 2 x 3; make"
    ):
        check_size(Path("m.png"), (2, 3), Path("i.png"), (3, 2))
