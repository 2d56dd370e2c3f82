"""Images that are refused: too large, damaged, or none at all."""

import errno
import io
import re
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fcis.core.errors import InputError
from fcis.imaging.reading import as_rgb, image_size, read_image

from .reading_cases import COLOUR, DEEP, GREY, RNG, png, save

# ---- size limit


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    path = save(tmp_path, "x.png", Image.fromarray(COLOUR))
    data = path.read_bytes()
    # only the header is left: to decode would be another error
    path.write_bytes(data[: data.index(b"IDAT") + 4])
    message = (
        r"x\.png: 7 x 5 pixels \(width x height\) .* limit of 34; raise it with --max-pixels 35"
    )
    with pytest.raises(InputError, match=message):
        read_image(path, max_pixels=34)
    with pytest.raises(InputError, match="image: 7 x 5 pixels"):
        as_rgb(COLOUR, max_pixels=34)
    with pytest.raises(InputError, match="image: 7 x 5 pixels"):
        as_rgb(Image.fromarray(COLOUR), max_pixels=34)


def test_exactly_the_limit_is_accepted(tmp_path):
    path = save(tmp_path, "x.png", Image.fromarray(COLOUR))
    np.testing.assert_array_equal(read_image(path, max_pixels=35), COLOUR)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pillows_own_limit_is_out_of_the_way_and_comes_back(tmp_path, monkeypatch, suffix, recwarn):
    path = save(tmp_path, f"x.{suffix}", Image.fromarray(COLOUR))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # 35 > 2 x 10: Pillow would refuse
    threads = [threading.Thread(target=read_image, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(read_image(path), COLOUR)
    assert image_size(path) == (5, 7)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(InputError, match="limit of 34"):
        read_image(path, max_pixels=34)
    assert Image.MAX_IMAGE_PIXELS == 10
    assert not recwarn.list


# ---- files that are no image


def test_a_palette_that_is_not_there(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png((8, 8, 8, 3), zlib.compress(bytes(72))))
    refused(path, ": colours of the kind P cannot be read; convert the image to RGB")


@pytest.mark.parametrize("error", [RuntimeError("no frame"), AssertionError(), RecursionError()])
@pytest.mark.parametrize("step", ["_open", "load"])
def test_whatever_a_decoder_raises(tmp_path, monkeypatch, error, step):
    def fail(*arguments, **options):
        raise error

    path = save(tmp_path, "x.png", Image.fromarray(COLOUR))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, step, fail)
    refused(path, ": ")


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(str(path)) + message) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    refused(tmp_path / "none.png", ": no such file; check the spelling")
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        image_size(tmp_path / "none.png")


def test_folder(tmp_path):
    refused(tmp_path, ": is a folder, not an image file; name a file in it")


def test_empty_file(tmp_path):
    (tmp_path / "x.png").touch()
    refused(tmp_path / "x.png", r": the file is empty \(0 bytes\); copy or export it again")


def test_no_permission(tmp_path, monkeypatch):
    path = save(tmp_path, "x.png", Image.fromarray(GREY))

    def deny(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")  # chmod does not stop root

    monkeypatch.setattr(Image, "open", deny)
    refused(path, ": no permission to read this file; change its rights")


def test_other_trouble_of_the_system(tmp_path, monkeypatch):
    path = save(tmp_path, "x.png", Image.fromarray(GREY))

    def fail(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output\nerror")

    monkeypatch.setattr(Image, "open", fail)
    refused(
        path, r": truncated, damaged or not an image \(.*Input/output.*\); copy or export it again"
    )


@pytest.mark.parametrize(
    "content", [b"hello, I am no image\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 99]
)
def test_not_an_image(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    refused(path, r": not an image that can be read .* convert it to PNG, JPEG or TIFF")


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp", "gif", "webp", "ppm"])
@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_truncated_files_are_refused(tmp_path, suffix, share):
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    options = {"compression": "tiff_lzw"} if suffix == "tif" else {}
    path = save(tmp_path, f"x.{suffix}", noise, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, r": .*(truncated|damaged)")


def test_truncated_progressive_jpeg_and_raw_tiff(tmp_path):
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for path in (
        save(tmp_path, "x.jpg", noise, progressive=True),
        save(tmp_path, "x.tif", Image.fromarray(DEEP), compression=None),
    ):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        refused(path, r": .*(truncated|damaged)")


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_damaged_bytes_never_raise_anything_else(tmp_path):
    noise = Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    lines = []
    for suffix in ("jpg", "png", "tif", "gif", "webp"):
        data = save(tmp_path, f"good.{suffix}", noise).read_bytes()
        for seed in range(40):
            broken = bytearray(data)
            for at in np.random.default_rng(seed).integers(0, len(data), 6):
                broken[at] ^= 0x55
            path = tmp_path / f"bad.{suffix}"
            path.write_bytes(bytes(broken))
            try:
                assert read_image(path, max_pixels=10**6).shape[2] == 3
            except InputError as error:
                lines.append((str(path), str(error)))
    assert lines
    assert all(path in line and "\n" not in line for path, line in lines)


def test_truncated_image_in_memory():
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, "PNG")
    image = Image.open(io.BytesIO(stream.getvalue()[:4000]))
    with pytest.raises(InputError, match="image: the image is truncated or damaged"):
        as_rgb(image)
