"""The pictures of LabelMe files."""

import base64
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.formats.labelme_image import find_image, stated_size


@pytest.fixture
def picture(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    return pixels


def find(folder, **document):
    path = folder / "x.json"
    path.write_text(json.dumps(document))
    return find_image(path, document)


@pytest.mark.parametrize("name", ["x.png", "..\\photos\\x.png", "somewhere/x.png", "y.png", None])
def test_the_file(tmp_path, picture, name):
    found = find(tmp_path, imagePath=name)
    assert (found.source.path.resolve(), found.suffix) == (tmp_path / "x.png", ".png")


def test_the_stated_size():
    assert stated_size({"imageHeight": 40, "imageWidth": 60.0}) == (40, 60)
    for height in (0, None, "40", -40, 2**31):
        assert stated_size({"imageHeight": height, "imageWidth": 60}) is None


def test_the_picture_in_the_file(tmp_path, picture):
    data = base64.b64encode((tmp_path / "x.png").read_bytes()).decode("ascii")
    (tmp_path / "x.png").unlink()
    found = find(tmp_path, imagePath="x.jpg", imageData=data)
    assert found.suffix == ".png"
    source = pickle.loads(pickle.dumps(found.source))
    np.testing.assert_array_equal(source.read(), picture)
    assert str(source).endswith("x.json (imageData)")


@pytest.mark.parametrize("data", ["%%%", "AAAA", 3])
def test_a_damaged_picture_in_the_file(tmp_path, data):
    with pytest.raises(InputError, match=r"x\.json: its imageData cannot be read as a picture"):
        find(tmp_path, imageData=data).source.read()


def test_a_name_that_is_too_long_is_no_file(tmp_path, picture):
    assert find(tmp_path, imagePath="y" * 300).source.path == tmp_path / "x.png"


def test_no_picture(tmp_path):
    with pytest.raises(InputError, match=r"x\.json: its image 'y\.png' does not exist, and no"):
        find(tmp_path, imagePath="y.png", imageData=None)
