"""Images of any number of channels."""

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fcis.core.errors import InputError
from fcis.core.image_reading import ImageReading
from fcis.imaging.multichannel import read_as
from fcis.imaging.reading import as_rgb

RNG = np.random.default_rng(0)


def channels(count):
    return ImageReading(percentiles=(0.0, 100.0), channels=count)


def write(path, pages):
    first, *others = (Image.fromarray(page) for page in pages)
    first.save(path, save_all=True, append_images=others)
    return path


def test_pages_of_8_bits_are_channels(tmp_path):
    pages = RNG.integers(0, 256, (5, 6, 7), dtype=np.uint8)
    found = read_as(write(tmp_path / "a.tif", pages), channels(5))
    assert np.array_equal(found, pages.transpose(1, 2, 0))


def test_deep_pages_are_scaled_each_by_itself(tmp_path):
    weak = np.linspace(0, 90, 42).reshape(6, 7).astype(np.uint16)
    strong = np.linspace(1000, 65000, 42).reshape(6, 7).astype(np.uint16)
    found = read_as(write(tmp_path / "a.tif", [weak, strong]), channels(2))
    for channel in (0, 1):
        assert found[0, 0, channel] == 0 and found[-1, -1, channel] == 255
    expected = np.floor((weak / 90) * 255 + 0.5)
    assert np.array_equal(found[:, :, 0], expected)


def test_the_bands_of_one_picture_are_channels(tmp_path):
    image = RNG.integers(0, 256, (6, 7, 4), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert np.array_equal(read_as(tmp_path / "a.png", channels(4)), image)
    Image.fromarray(image[:, :, :2], mode="LA").save(tmp_path / "b.png")
    assert np.array_equal(read_as(tmp_path / "b.png", channels(2)), image[:, :, :2])


def test_other_files_are_refused(tmp_path):
    pages = RNG.integers(0, 256, (3, 6, 7), dtype=np.uint8)
    path = write(tmp_path / "three.tif", pages)
    with pytest.raises(InputError, match=r"three.tif: has 3 pages, the network takes 4; write a"):
        read_as(path, channels(4))
    Image.fromarray(pages[0]).save(tmp_path / "grey.png")
    with pytest.raises(InputError, match=r"grey.png: has 1 channel\(s\), the network takes 4"):
        read_as(tmp_path / "grey.png", channels(4))
    colours = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    path = write(tmp_path / "mixed.tif", [pages[0], colours])
    with pytest.raises(InputError, match=r"mixed.tif: page 2 is not grey or has another size"):
        read_as(path, channels(2))
    path = write(tmp_path / "sizes.tif", [pages[0], pages[1][:3]])
    with pytest.raises(InputError, match=r"sizes.tif: page 2 is not grey or has another size"):
        read_as(path, channels(2))
    with pytest.raises(InputError, match="more than the limit of 10"):
        read_as(write(tmp_path / "large.tif", pages[:2]), channels(2), max_pixels=10)


def test_a_damaged_page_is_named(tmp_path):
    pages = RNG.integers(0, 256, (4, 60, 70), dtype=np.uint8)
    path = write(tmp_path / "cut.tif", pages)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut.tif: "):
        read_as(path, channels(4))


def test_arrays():
    image = RNG.integers(0, 60000, (6, 7, 5), dtype=np.uint16)
    found = read_as(image, channels(5))
    assert found.dtype == np.uint8 and found.shape == image.shape
    assert found.min(axis=(0, 1)).tolist() == [0] * 5
    assert found.max(axis=(0, 1)).tolist() == [255] * 5
    with pytest.raises(InputError, match=r"shape \(6, 7, 5\); the network takes .* x 4 channels"):
        read_as(image, channels(4))
    with pytest.raises(InputError, match="more than the limit of 10"):
        read_as(image, channels(5), max_pixels=10)


@pytest.mark.parametrize("count", [1, 3])
def test_grey_and_colours_are_read_as_rgb(tmp_path, count):
    pages = RNG.integers(0, 60000, (count, 6, 7), dtype=np.uint16)
    first = as_rgb(pages[0], percentiles=(0.0, 100.0))
    assert np.array_equal(read_as(write(tmp_path / "a.tif", pages), channels(count)), first)
    assert np.array_equal(read_as(pages[0], channels(count)), first)


def test_pil_images_are_read_as_rgb():
    image = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    for count in (1, 3, 4):
        assert np.array_equal(read_as(Image.fromarray(image), channels(count)), image)


def test_a_second_page_that_would_fill_the_memory(tmp_path, monkeypatch):
    """Its size is looked at before it is decoded."""
    pages = [np.zeros((5, 6), np.uint8), np.zeros((50, 60), np.uint8)]
    path = write(tmp_path / "a.tif", pages)
    decoded = []
    load = TiffImagePlugin.TiffImageFile.load
    monkeypatch.setattr(
        TiffImagePlugin.TiffImageFile, "load", lambda self: (decoded.append(self.size), load(self))
    )
    with pytest.raises(InputError, match="page 2 is not grey or has another size than the first"):
        read_as(path, channels(2))
    assert (60, 50) not in decoded


def test_a_size_that_there_is_no_memory_for(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    path = write(tmp_path / "a.tif", [np.arange(30, dtype=np.uint16).reshape(5, 6)])
    monkeypatch.setattr("fcis.imaging.reading.to_levels", fail)
    with pytest.raises(InputError, match=r"a\.tif: .* \(it asks for more memory than there is\)"):
        read_as(path, channels(3))
