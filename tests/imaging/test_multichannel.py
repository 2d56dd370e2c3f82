"""Files of any number of channels."""

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.imaging.multichannel import as_channels, read_pages

RNG = np.random.default_rng(0)


def write(path, pages):
    first, *others = (Image.fromarray(page) for page in pages)
    first.save(path, save_all=True, append_images=others)
    return path


def test_pages_of_8_bits_are_channels(tmp_path):
    pages = RNG.integers(0, 256, (5, 6, 7), dtype=np.uint8)
    found = read_pages(write(tmp_path / "a.tif", pages), 5)
    assert np.array_equal(found, pages.transpose(1, 2, 0))


def test_deep_pages_are_scaled_each_by_itself(tmp_path):
    weak = np.linspace(0, 90, 42).reshape(6, 7).astype(np.uint16)
    strong = np.linspace(1000, 65000, 42).reshape(6, 7).astype(np.uint16)
    found = read_pages(write(tmp_path / "a.tif", [weak, strong]), 2, percentiles=(0.0, 100.0))
    for channel in (0, 1):
        assert found[0, 0, channel] == 0 and found[-1, -1, channel] == 255
    expected = np.floor((weak / 90) * 255 + 0.5)
    assert np.array_equal(found[:, :, 0], expected)


def test_the_bands_of_one_picture_are_channels(tmp_path):
    image = RNG.integers(0, 256, (6, 7, 4), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    assert np.array_equal(read_pages(tmp_path / "a.png", 4), image)
    Image.fromarray(image[:, :, :2], mode="LA").save(tmp_path / "b.png")
    assert np.array_equal(read_pages(tmp_path / "b.png", 2), image[:, :, :2])


def test_other_files_are_refused(tmp_path):
    pages = RNG.integers(0, 256, (3, 6, 7), dtype=np.uint8)
    path = write(tmp_path / "three.tif", pages)
    with pytest.raises(InputError, match=r"three.tif: has 3 pages, the network takes 4; write a"):
        read_pages(path, 4)
    Image.fromarray(pages[0]).save(tmp_path / "grey.png")
    with pytest.raises(InputError, match=r"grey.png: has 1 channel\(s\), the network takes 4"):
        read_pages(tmp_path / "grey.png", 4)
    colours = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    path = write(tmp_path / "mixed.tif", [pages[0], colours])
    with pytest.raises(InputError, match=r"mixed.tif: page 2 is not grey or has another size"):
        read_pages(path, 2)
    path = write(tmp_path / "sizes.tif", [pages[0], pages[1][:3]])
    with pytest.raises(InputError, match=r"sizes.tif: page 2 is not grey or has another size"):
        read_pages(path, 2)
    with pytest.raises(InputError, match="more than the limit of 10"):
        read_pages(write(tmp_path / "large.tif", pages), 3, max_pixels=10)


def test_a_damaged_page_is_named(tmp_path):
    pages = RNG.integers(0, 256, (4, 60, 70), dtype=np.uint8)
    path = write(tmp_path / "cut.tif", pages)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut.tif: "):
        read_pages(path, 4)


def test_arrays():
    image = RNG.integers(0, 60000, (6, 7, 5), dtype=np.uint16)
    found = as_channels(image, 5, percentiles=(0.0, 100.0))
    assert found.dtype == np.uint8 and found.shape == image.shape
    assert found.min(axis=(0, 1)).tolist() == [0] * 5
    assert found.max(axis=(0, 1)).tolist() == [255] * 5
    with pytest.raises(InputError, match=r"shape \(6, 7, 5\); the network takes .* x 4 channels"):
        as_channels(image, 4)
    with pytest.raises(InputError, match="more than the limit of 10"):
        as_channels(image, 5, max_pixels=10)
