import tracemalloc

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.image_reading import ImageReading
from fcis.imaging.reading import read_image
from fcis.imaging.strips import picture as module
from fcis.imaging.strips.picture import (
    ArrayPicture,
    FilePicture,
    bands,
    level_counts,
    open_picture,
    reduced,
)


def noise(*shape, dtype=np.uint8, high=256):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def images():
    rgb = Image.fromarray(noise(70, 50, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "rgb.png": (rgb, {}),
        "grey.png": (rgb.convert("L"), {}),
        "deep.png": (Image.fromarray(noise(70, 50, dtype=np.uint16, high=5000)), {}),
        "alpha.png": (Image.fromarray(noise(70, 50, 4)), {}),
        "palette.png": (rgb.quantize(20), {}),
        "binary.png": (rgb.convert("1"), {}),
        "turned.png": (rgb, {"exif": exif}),
        "rgb.tif": (rgb, {"compression": "tiff_lzw"}),
        "deep.tif": (Image.fromarray(noise(70, 50, dtype=np.uint16, high=5000)), {}),
        "float.tif": (Image.fromarray(noise(70, 50).astype(np.float32) / 7), {}),
        "cmyk.tif": (rgb.convert("CMYK"), {}),
        "rgb.jpg": (rgb, {}),
        "rgb.bmp": (rgb, {}),
    }


WHOLE = ("turned.png", "rgb.jpg", "rgb.bmp")


@pytest.mark.parametrize("name", list(images()))
def test_rows_are_those_of_the_image(tmp_path, monkeypatch, name):
    monkeypatch.setattr(module, "_PART_PIXELS", 500)
    image, options = images()[name]
    path = tmp_path / name
    image.save(path, **options)
    picture = open_picture(path)
    assert isinstance(picture, ArrayPicture if name in WHOLE else FilePicture)
    expected = read_image(path)
    assert picture.size == expected.shape[:2]
    for _ in range(2):  # each pass begins at the top
        np.testing.assert_array_equal(np.concatenate(list(picture.blocks())), expected)
    np.testing.assert_array_equal(picture.read(), expected)


def test_percentiles_of_deep_images(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(noise(70, 50, dtype=np.uint16, high=5000)).save(path)
    for percentiles in ((0.0, 100.0), (5.0, 60.0)):
        rows = list(open_picture(path, ImageReading(percentiles=percentiles)).blocks())
        np.testing.assert_array_equal(
            np.concatenate(rows), read_image(path, percentiles=percentiles)
        )


def test_too_large_and_missing(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(noise(10, 10)).save(path)
    assert open_picture(path, max_pixels=100).size == (10, 10)
    with pytest.raises(InputError, match="are more than the limit of 99"):
        open_picture(path, max_pixels=99)
    with pytest.raises(InputError, match=r"y\.png: no such file"):
        open_picture(tmp_path / "y.png")


class Blocks:
    """A picture in blocks of given heights."""

    def __init__(self, image, heights):
        self.image, self.heights = image, heights
        self.size = image.shape[:2]

    def read(self):
        return self.image

    def blocks(self):
        top = 0
        for height in self.heights:
            yield self.image[top : top + height].copy()
            top += height


@pytest.mark.parametrize("heights", [[30], [1] * 30, [7, 7, 7, 9], [29, 1]])
@pytest.mark.parametrize(
    "spans", [[(0, 30)], [(0, 10), (8, 18), (20, 30)], [(0, 10), (5, 15), (9, 19)], [(25, 26)], []]
)
def test_bands(heights, spans):
    image = noise(30, 4, 3)
    found = list(bands(Blocks(image, heights), spans))
    assert len(found) == len(spans)
    for (top, bottom), rows in zip(spans, found, strict=True):
        np.testing.assert_array_equal(rows, image[top:bottom])


def test_bands_let_rows_go():
    """Of a thousand blocks of 30 kB, a few are held."""

    class Endless:
        size = (10_000, 1000)

        def read(self):
            raise AssertionError("the whole image")

        def blocks(self):
            for _ in range(1000):
                yield np.zeros((10, 1000, 3), dtype=np.uint8)

    spans = [(top, top + 20) for top in range(0, 9980, 10)]
    tracemalloc.start()
    for _ in bands(Endless(), spans):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400_000


def test_level_counts(tmp_path):
    image = noise(50, 40, 3)
    expected = [(image == level).sum() for level in range(256)]
    assert level_counts(ArrayPicture(image)).tolist() == expected
    Image.fromarray(image).save(tmp_path / "x.png")
    assert level_counts(open_picture(tmp_path / "x.png")).tolist() == expected


def test_reduced():
    image = noise(600, 50, 3)
    small = reduced(Blocks(image, [100] * 6), 3)
    assert small.shape == (200, 17, 3)
    exact = image[:, :48].reshape(200, 3, 16, 3, 3).mean(axis=(1, 3))
    assert np.abs(small[:, :16] - exact).max() < 0.6
    # what is left at the edge is the mean of what there is
    assert np.abs(small[:, 16] - image[:, 48:].reshape(200, 3, 2, 3).mean(axis=(1, 2))).max() < 0.6
