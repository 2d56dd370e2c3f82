"""Names and files of images that are written."""

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset, FileSource, ImageRecord
from fcis.data.formats.copied_images import output_names, safe_path, write_image


def record(path, file_name, height=3, width=4):
    return ImageRecord(
        id=1, file_name=file_name, height=height, width=width, source=FileSource(path=path)
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "b.JPG"], ["a.png", "b.JPG"]),
        (["x/a.png", "y\\a.png"], ["x/a.png", "y/a.png"]),
        (["a.png", "a.jpg", "A.png"], ["a.png", "a~2.jpg", "A~3.png"]),
        (["../../a.png", "/etc/b.png", ".."], ["a.png", "etc/b.png", "image.png"]),
        (["a:b?.png", "a*b|.png"], ["a_b_.png", "a_b_~2.png"]),
        (["a.b.png", ".hidden.png"], ["a.b.png", ".hidden.png"]),
    ],
)
def test_names(tmp_path, names, expected):
    images = [record(tmp_path / f"file.{n.rpartition('.')[2] or 'png'}", n) for n in names]
    assert output_names(Dataset(name="x", categories=(), images=tuple(images))) == expected


def test_suffixes_are_those_of_the_files(tmp_path, scenes):
    images = (record(tmp_path / "x.tif", "a.png"), record(tmp_path / "x", "b"))
    data = Dataset(name="x", categories=(), images=(*images, *scenes(1).images))
    assert output_names(data) == ["a.tif", "b.png", "scene-5-000000.png"]


def test_safe_paths():
    assert safe_path(["a", "..", "b/", " ", "c:"]) == "a/b/c_"
    assert safe_path([]) == ""


def test_files_are_copied(tmp_path):
    source = tmp_path / "x.png"
    Image.fromarray(np.full((3, 4), 700, np.uint16)).save(source, pnginfo=None)
    write_image(record(source, "a.png"), tmp_path / "deep" / "a.png")
    assert (tmp_path / "deep" / "a.png").read_bytes() == source.read_bytes()


def test_what_is_no_file_is_drawn(tmp_path, scenes):
    (scene,) = scenes(1).images
    write_image(scene, tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), scene.read())
    (tmp_path / "a.png").rename(tmp_path / "without")
    write_image(record(tmp_path / "without", "b", 64, 80), tmp_path / "b.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), scene.read())


def test_an_image_of_another_size(tmp_path):
    Image.new("RGB", (3, 4)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"x\.png: the image is 3 x 4 .* says 4 x 3"):
        write_image(record(tmp_path / "x.png", "a.png"), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
