"""YOLO sets as others read them."""

import numpy as np
import pytest
import yaml
from PIL import Image

from fcis.core.masks import mask_from_rle, rle_from_polygons
from fcis.data.checks.check import refuse
from fcis.data.dataset import Annotation, Category, Dataset, FileSource, ImageRecord, Polygons
from fcis.data.formats.copied_images import output_names
from fcis.data.formats.write_yolo import write_yolo
from fcis.data.formats.yolo import raw_yolo


def test_files(difficult, tmp_path):
    path = write_yolo(difficult, output_names(difficult), tmp_path)
    content = yaml.safe_load(path.read_text())
    assert content == {
        "train": "images",
        "val": "images",
        "names": {0: "no", 1: "traffic light", 2: "a/b: \u00fc"},
    }
    assert (tmp_path / "labels" / "c.txt").read_text() == ""
    lines = (tmp_path / "labels" / "sub" / "a b.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["1", "1", "2", "0"]
    assert Image.open(tmp_path / "images" / "sub" / "a b.png").size == (30, 20)
    for line, annotation in zip(lines, difficult.images[0].annotations, strict=False):
        values = np.array(line.split()[1:], dtype=np.float64)
        assert (values >= 0).all() and (values <= 1).all()
        points = values.reshape(-1, 2) * [30, 20]
        mask = mask_from_rle(rle_from_polygons([points.ravel().tolist()], 20, 30))
        np.testing.assert_array_equal(mask, mask_from_rle(annotation.rle))


def test_numbers_are_as_short_as_can_be(scenes, tmp_path):
    (scene,) = scenes(1, size=(64, 128)).images
    data = Dataset(name="x", categories=scenes().categories, images=(scene,))
    write_yolo(data, ["a.png"], tmp_path)
    words = (tmp_path / "labels" / "a.txt").read_text().split()
    # sevenths after the point are enough for 64ths and 128ths
    assert max(map(len, words)) == 2 + 7
    assert not any(word.endswith(("0", ".")) for word in words if "." in word)


@pytest.mark.parametrize("value", [12.3, 0.1, 639.99, 300.7])
def test_points_come_back_as_they_were(value, tmp_path):
    """The COCO API rounds to fifths of a pixel: a tie must not fall to the other side."""
    points = np.array([value, 0.1, 600.3, 10.5, 20.9, value * 0.7])
    polygons = Polygons(parts=(points,), height=479, width=641)
    annotation = Annotation(
        id=1, category_id=1, box=(0.0, 0.0, 641.0, 479.0), mask=polygons, area=1.0
    )
    Image.new("RGB", (641, 479)).save(tmp_path / "x.png")
    image = ImageRecord(
        id=1,
        file_name="x.png",
        height=479,
        width=641,
        source=FileSource(path=tmp_path / "x.png"),
        annotations=(annotation,),
    )
    data = Dataset(name="x", categories=(Category(id=1, name="a"),), images=(image,))
    again = refuse(raw_yolo(write_yolo(data, ["x.png"], tmp_path / "out"), None))
    np.testing.assert_allclose(again.images[0].annotations[0].mask.parts[0], points, atol=1e-6)
    assert again.images[0].annotations[0].rle == annotation.rle
