"""What people have in their hands: each kind that is taken, and one line for what is not."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from fcis.core.errors import InputError
from fcis.imaging.in_memory import as_readable

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def stream(kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def test_names_arrays_and_pictures_stay_as_they_are(tmp_path):
    for image in ("a.png", tmp_path / "a.png", PIXELS, Image.fromarray(PIXELS)):
        assert as_readable(image) is image


def test_tensors_have_their_channels_first():
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    np.testing.assert_array_equal(as_readable(tensor), PIXELS)
    np.testing.assert_array_equal(as_readable(tensor[0]), PIXELS[..., 0])
    floats = torch.rand(2, 3, requires_grad=True)
    np.testing.assert_array_equal(as_readable(floats), floats.detach().numpy())


def test_open_files_are_read_like_files(tmp_path):
    np.testing.assert_array_equal(np.asarray(as_readable(stream())), PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = as_readable(stream(exif=exif))
    np.testing.assert_array_equal(np.asarray(turned), PIXELS[::-1, ::-1])
    path = tmp_path / "a.png"
    path.write_bytes(stream().getvalue())
    with path.open("rb") as file:
        np.testing.assert_array_equal(np.asarray(as_readable(file)), PIXELS)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "image: NoneType None; give a file name"),
        (b"abc", r"image: bytes; give io\.BytesIO\(bytes\)"),
        ({"a": 1}, "image: dict .*; give a file name"),
        (torch.zeros(3), r"image: a tensor of \(3,\); give \(height, width\) or"),
        (torch.zeros(1, 3, 4, 4), r"image: a tensor of \(1, 3, 4, 4\)"),
        (io.StringIO("abc"), "image: is open as text; open it with mode 'rb'"),
        (io.BytesIO(), "image: is empty"),
        (io.BytesIO(b"no picture at all"), "image: not an image that can be read"),
        (io.BytesIO(stream().getvalue()[:60]), "image: .*(truncated|damaged)"),
    ],
    ids=lambda value: "" if not isinstance(value, str) else value[:12],
)
def test_what_is_no_image_is_named_in_one_line(image, message):
    with pytest.raises(InputError, match=message) as error:
        as_readable(image)
    assert "\n" not in str(error.value)


def test_a_file_that_is_closed(tmp_path):
    file = stream()
    file.close()
    with pytest.raises(InputError, match=r"cannot be read .*closed"):
        as_readable(file)
