"""Every kind of image file against the values it was made from."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from fcis.core.errors import InputError
from fcis.imaging.reading import as_rgb, image_size, read_image

from .reading_cases import ALPHA, COLOUR, DEEP, GREY, ON_BLACK, RNG, save


def three(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, axis=2)


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The definition, value by value."""
    result = np.zeros(values.shape, dtype=np.uint8)
    for index, value in np.ndenumerate(values):
        if np.isfinite(value):
            share = (min(max(float(value), low), high) - low) / (high - low)
            result[index] = int(share * 255 + 0.5)
    return result


# ---- 8 bits


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp", "gif"])
def test_colour_comes_back_exactly(tmp_path, suffix):
    image = Image.fromarray(COLOUR)
    options = {"lossless": True} if suffix == "webp" else {}
    if suffix == "gif":
        image = image.quantize(64)  # 35 pixels: every colour has its own entry
        options = {"optimize": False}
    path = save(tmp_path, f"x.{suffix}", image, **options)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable
    np.testing.assert_array_equal(pixels, np.array(image.convert("RGB")))
    if suffix != "gif":
        np.testing.assert_array_equal(pixels, COLOUR)
    assert image_size(path) == (5, 7)


def test_jpeg_agrees_with_pillow(tmp_path):
    path = save(tmp_path, "x.jpg", Image.fromarray(COLOUR))
    np.testing.assert_array_equal(read_image(path), np.array(Image.open(path)))


def test_content_counts_not_the_suffix(tmp_path):
    path = save(tmp_path, "x.jpg", Image.fromarray(COLOUR), format="PNG")
    np.testing.assert_array_equal(read_image(path), COLOUR)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_grey(tmp_path, suffix):
    path = save(tmp_path, f"x.{suffix}", Image.fromarray(GREY))
    np.testing.assert_array_equal(read_image(path), three(GREY))


@pytest.mark.parametrize("suffix", ["png", "tif", "pbm"])
def test_one_bit(tmp_path, suffix):
    bits = GREY > 127
    path = save(tmp_path, f"x.{suffix}", Image.fromarray(bits))
    assert Image.open(path).mode == "1"
    np.testing.assert_array_equal(read_image(path), three(bits * np.uint8(255)))


def test_grey_with_alpha_lies_on_black(tmp_path):
    path = save(tmp_path, "x.png", Image.fromarray(np.dstack([GREY, ALPHA])))
    assert Image.open(path).mode == "LA"
    expected = three(GREY) * (ALPHA / 255.0)[:, :, None]
    np.testing.assert_allclose(read_image(path), expected, atol=1)


def test_colour_with_alpha_lies_on_black(tmp_path):
    path = save(tmp_path, "x.png", Image.fromarray(np.dstack([COLOUR, ALPHA])))
    np.testing.assert_allclose(read_image(path), ON_BLACK, atol=1)


def test_opaque_alpha_changes_nothing(tmp_path):
    opaque = np.dstack([COLOUR, np.full((5, 7), 255, np.uint8)])
    np.testing.assert_array_equal(
        read_image(save(tmp_path, "x.png", Image.fromarray(opaque))), COLOUR
    )


def palette_image() -> Image.Image:
    image = Image.fromarray(np.array([[0, 1], [2, 0]], dtype=np.uint8), mode=None)
    image = image.convert("P")
    image.putdata([0, 1, 2, 0])
    image.putpalette([10, 20, 30, 200, 100, 50, 7, 8, 9])
    return image


def test_palette(tmp_path):
    path = save(tmp_path, "x.png", palette_image())
    assert Image.open(path).mode == "P"
    np.testing.assert_array_equal(
        read_image(path), [[[10, 20, 30], [200, 100, 50]], [[7, 8, 9], [10, 20, 30]]]
    )


def test_transparent_palette_entry_is_black(tmp_path):
    path = save(tmp_path, "x.png", palette_image(), transparency=1)
    np.testing.assert_array_equal(
        read_image(path), [[[10, 20, 30], [0, 0, 0]], [[7, 8, 9], [10, 20, 30]]]
    )


def test_transparent_colour_key_is_black(tmp_path):
    path = save(
        tmp_path, "x.png", Image.fromarray(COLOUR), transparency=tuple(map(int, COLOUR[0, 0]))
    )
    expected = COLOUR.copy()
    expected[(COLOUR[0, 0] == COLOUR).all(axis=2)] = 0
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_cmyk(tmp_path, suffix):
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan: red
    path = save(tmp_path, f"x.{suffix}", ink)
    assert Image.open(path).mode == "CMYK"
    np.testing.assert_allclose(read_image(path), np.full((8, 8, 3), [255, 0, 0]), atol=2)


def test_other_modes_in_memory():
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    for mode in ("YCbCr", "HSV", "LAB", "RGBX", "RGBa"):
        source = red.convert("RGBA") if mode == "RGBa" else red
        np.testing.assert_allclose(
            as_rgb(source.convert(mode)), np.full((2, 2, 3), [255, 0, 0]), atol=5
        )


def test_colours_without_a_way_to_rgb_are_refused():
    with pytest.raises(InputError, match=r"image: colours of the kind La cannot be read; convert"):
        as_rgb(Image.new("La", (2, 2)))


# ---- more than 8 bits


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_is_scaled_by_percentiles(tmp_path, suffix):
    path = save(tmp_path, f"x.{suffix}", Image.fromarray(DEEP))
    assert Image.open(path).mode.startswith("I")
    low, high = np.percentile(DEEP, [0.1, 99.9])
    np.testing.assert_array_equal(read_image(path), three(stretched(DEEP, low, high)))
    low, high = np.percentile(DEEP, [10, 60])
    np.testing.assert_array_equal(
        read_image(path, percentiles=(10.0, 60.0)), three(stretched(DEEP, low, high))
    )


def test_big_endian_16_bit(tmp_path):
    header = b"P5 50 40 65535\n"  # PGM stores the high byte first
    path = tmp_path / "x.pgm"
    path.write_bytes(header + DEEP.astype(">u2").tobytes())
    low, high = np.percentile(DEEP, [0.1, 99.9])
    np.testing.assert_array_equal(read_image(path), three(stretched(DEEP, low, high)))


def test_32_bit_integers(tmp_path):
    values = DEEP.astype(np.int32) * 30000 - 5
    path = save(tmp_path, "x.tif", Image.fromarray(values))
    assert Image.open(path).mode == "I"
    low, high = np.percentile(values, [0.1, 99.9])
    np.testing.assert_array_equal(read_image(path), three(stretched(values, low, high)))


def test_float_tiff(tmp_path):
    values = (DEEP / 1e4 - 3).astype(np.float32)
    path = save(tmp_path, "x.tif", Image.fromarray(values))
    assert Image.open(path).mode == "F"
    low, high = np.percentile(values, [0.1, 99.9])
    np.testing.assert_array_equal(read_image(path), three(stretched(values, low, high)))


def test_first_page_of_a_tiff(tmp_path):
    pages = [Image.fromarray(DEEP), Image.fromarray(GREY)]
    path = save(tmp_path, "x.tif", pages[0], save_all=True, append_images=pages[1:])
    assert Image.open(path).n_frames == 2
    low, high = np.percentile(DEEP, [0.1, 99.9])
    np.testing.assert_array_equal(read_image(path), three(stretched(DEEP, low, high)))


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.uint16, np.int16, np.int64]
)
def test_arrays_of_other_types(dtype):
    values = RNG.integers(0, 3000, (600, 20, 3)).astype(dtype)  # more rows than are scaled at once
    low, high = np.percentile(values, [0.1, 99.9])
    np.testing.assert_array_equal(as_rgb(values), stretched(values, float(low), float(high)))


def test_two_values_by_hand():
    values = np.array([[0.0, 1.0], [0.25, 0.5]])
    np.testing.assert_array_equal(
        as_rgb(values, percentiles=(0.0, 100.0))[:, :, 0], [[0, 255], [64, 128]]
    )


def test_nan_and_infinity_are_black():
    values = np.array([[np.nan, 1.0, 2.0], [np.inf, -np.inf, 3.0]], dtype=np.float32)
    np.testing.assert_array_equal(
        as_rgb(values, percentiles=(0.0, 100.0))[:, :, 0], [[0, 0, 128], [0, 0, 255]]
    )
    assert not as_rgb(np.full((3, 3), np.nan)).any()


def test_constant_deep_images_are_black():
    assert not as_rgb(np.full((3, 4), 1234, dtype=np.uint16)).any()
    assert not as_rgb(np.full((3, 4), 0.5)).any()


def test_a_few_bright_pixels_survive():
    values = np.zeros((100, 100), dtype=np.uint16)
    values[3, 4] = 900  # 1 in 10,000: both percentiles are 0
    expected = np.zeros((100, 100))
    expected[3, 4] = 255
    np.testing.assert_array_equal(as_rgb(values)[:, :, 0], expected)


# ---- arrays in memory


def test_arrays_of_8_bits():
    assert as_rgb(COLOUR) is COLOUR
    np.testing.assert_array_equal(as_rgb(GREY), three(GREY))
    np.testing.assert_array_equal(as_rgb(GREY[:, :, None]), three(GREY))
    np.testing.assert_array_equal(as_rgb(GREY > 99), three((GREY > 99) * np.uint8(255)))
    np.testing.assert_allclose(as_rgb(np.dstack([COLOUR, ALPHA])), ON_BLACK, atol=1)


def test_strided_and_read_only_arrays_become_usable():
    flipped = as_rgb(COLOUR[:, ::-1])
    assert flipped.flags.c_contiguous
    np.testing.assert_array_equal(flipped, COLOUR[:, ::-1])
    assert as_rgb(np.asarray(Image.fromarray(COLOUR))).flags.writeable


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 9, 8), np.uint8), r"shape \(3, 9, 8\); pass height x width.*transpose"),
        (np.zeros((4,), np.uint8), r"shape \(4,\); pass height x width"),
        (np.zeros((1, 9, 8, 3), np.uint8), r"shape \(1, 9, 8, 3\); pass"),
        (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\); pass"),
        (np.zeros((9, 8), np.complex64), r"array of complex64; pass uint8"),
        (np.zeros((9, 8, 4), np.float32), r"4 channels of float32; RGBA is read in uint8 only"),
    ],
)
def test_arrays_that_are_no_image(array, message):
    with pytest.raises(InputError, match=message):
        as_rgb(array)


# ---- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
    path = save(
        tmp_path, f"x.{suffix}", Image.fromarray(COLOUR), exif=exif, **options.get(suffix, {})
    )
    upright = np.array(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels, upright)
    assert pixels.shape[:2] == ((7, 5) if orientation > 4 else (5, 7)) == image_size(path)
    if suffix != "tif":  # Pillow turns a TIFF in any case
        assert read_image(path, exif=False).shape[:2] == (5, 7) == image_size(path, exif=False)
        assert as_rgb(Image.open(path)).shape[:2] == (5, 7)
        np.testing.assert_array_equal(as_rgb(Image.open(path), exif=True), upright)


def test_orientation_6_by_hand(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the top is on the right
    path = save(tmp_path, "x.png", Image.fromarray(GREY), exif=exif)
    np.testing.assert_array_equal(read_image(path)[:, :, 0], np.rot90(GREY, -1))


def test_unreadable_exif_does_not_matter(tmp_path):
    path = save(tmp_path, "x.png", Image.fromarray(GREY), exif=b"Exif\0\0MM\0\x2a\xff\xff\xff")
    np.testing.assert_array_equal(read_image(path), three(GREY))
    path = save(tmp_path, "y.png", Image.fromarray(GREY), exif=b"nonsense")
    np.testing.assert_array_equal(read_image(path), three(GREY))
