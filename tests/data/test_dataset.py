"""The records, the size check at reading, and the COCO dictionary."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from fcis.core.errors import InputError
from fcis.core.image_reading import ImageReading
from fcis.core.masks import mask_from_rle, rle_from_mask
from fcis.data.dataset import (
    Annotation,
    Category,
    Dataset,
    FileSource,
    ImageRecord,
    Polygons,
)
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.imaging.strips.picture import ArrayPicture, FilePicture

# pycocotools with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def record(folder: Path, height: int = 2, width: int = 3, **options) -> ImageRecord:
    path = folder / "x.png"
    Image.fromarray(PIXELS).save(path, **options)
    return ImageRecord(
        id=7, file_name="x.png", height=height, width=width, source=FileSource(path=path)
    )


def square(id: int, category_id: int, is_crowd: bool = False) -> Annotation:
    mask = np.zeros((4, 6), dtype=bool)
    mask[1:3, 2:5] = True
    return Annotation(
        id=id,
        category_id=category_id,
        box=(2.0, 1.0, 5.0, 3.0),
        mask=rle_from_mask(mask),
        area=5.5,
        is_crowd=is_crowd,
    )


def dataset(tmp_path: Path) -> Dataset:
    source = FileSource(path=tmp_path / "none.png")
    return Dataset(
        name="small",
        categories=(Category(id=3, name="cat"), Category(id=90, name="brush")),
        images=(
            ImageRecord(
                id="a/1",
                file_name="a/1.png",
                height=4,
                width=6,
                source=source,
                annotations=(square(0, 90), square(12, 3, is_crowd=True)),
            ),
            ImageRecord(id="a/2", file_name="a/2.png", height=4, width=6, source=source),
        ),
    )


def test_read(tmp_path):
    np.testing.assert_array_equal(record(tmp_path).read(), PIXELS)


def test_read_another_size_than_stated(tmp_path):
    with pytest.raises(
        InputError, match=r"x\.png: the image is 3 x 2 pixels .* says 5 x 4 for image 7; correct"
    ):
        record(tmp_path, height=4, width=5).read()


def test_read_swapped_sides_mentions_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.raises(
        InputError, match=r"the image is 2 x 3 pixels .* says 3 x 2 .* EXIF rotation"
    ):
        record(tmp_path, exif=exif).read()


def test_read_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        dataset(tmp_path).images[0].read()


def test_survives_pickling_for_workers(tmp_path):
    image = pickle.loads(pickle.dumps(record(tmp_path)))
    np.testing.assert_array_equal(image.read(), PIXELS)
    copy = pickle.loads(pickle.dumps(dataset(tmp_path)))
    assert copy == dataset(tmp_path)


def test_labels_and_names(tmp_path):
    data = dataset(tmp_path)
    assert len(data) == 2
    assert data.label_of == {3: 1, 90: 2}
    assert data.class_names == ("background", "cat", "brush")
    assert [data.class_names[data.label_of[a.category_id]] for a in data.images[0].annotations] == [
        "brush",
        "cat",
    ]


def test_no_categories_and_no_images():
    data = Dataset(name="none", categories=(), images=())
    assert (len(data), data.label_of, data.class_names) == (0, {}, ("background",))
    assert data.to_coco() == {"images": [], "annotations": [], "categories": []}


@pytest.mark.parametrize("ids", [(2, 1), (1, 1)])
def test_categories_out_of_order(ids):
    with pytest.raises(ValueError, match=r"categories: expected strictly ascending ids, got \["):
        Dataset(name="x", categories=tuple(Category(id=i, name="n") for i in ids), images=())


def test_polygons_by_hand():
    parts = (np.array([1.0, 1, 4, 1, 4, 3, 1, 3]), np.array([5.0, 0, 6, 0, 6, 1, 5, 1]))
    annotation = Annotation(
        id=1,
        category_id=1,
        box=(1.0, 0.0, 6.0, 3.0),
        mask=Polygons(parts=parts, height=4, width=7),
        area=7.0,
    )
    expected = np.zeros((4, 7), dtype=bool)
    expected[1:3, 1:4] = True
    expected[0, 5] = True
    np.testing.assert_array_equal(mask_from_rle(annotation.rle), expected)
    assert annotation.rle["size"] == [4, 7]


def test_to_coco_is_what_the_coco_api_reads(tmp_path):
    document = dataset(tmp_path).to_coco()
    path = tmp_path / "out.json"
    path.write_text(json.dumps(document))
    coco = COCO(path)
    assert coco.getImgIds() == ["a/1", "a/2"]
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["cat", "brush"]
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=["a/1"]))
    assert (first["id"], second["id"]) == (1, 2)  # never 0
    assert (first["category_id"], first["iscrowd"]) == (90, 0)
    assert (second["category_id"], second["iscrowd"]) == (3, 1)
    assert first["bbox"] == [2, 1, 3, 2] and first["area"] == 5.5
    expected = np.zeros((4, 6))
    expected[1:3, 2:5] = 1
    np.testing.assert_array_equal(coco.annToMask(first), expected)


def test_reading_changes_how_files_are_read_and_nothing_else(tmp_path):
    deep = np.full((4, 6), 100, dtype=np.uint16)
    deep[0, 0], deep[0, 1], deep[2:] = 0, 65535, 200
    Image.fromarray(deep).save(tmp_path / "deep.png")
    source = FileSource(path=tmp_path / "deep.png")
    image = ImageRecord(id=1, file_name="deep.png", height=4, width=6, source=source)
    plain = Dataset(name="deep", categories=(), images=(image,))
    narrow = plain.reading(ImageReading(percentiles=(10.0, 90.0)))
    assert plain.images[0].read()[3, 3, 0] <= 1  # of 65535
    assert narrow.images[0].read()[3, 3, 0] == 255
    assert narrow.to_coco() == plain.to_coco()
    limited = plain.reading(ImageReading(percentiles=(10.0, 90.0)), max_pixels=23)
    with pytest.raises(InputError, match=r"deep\.png"):
        limited.images[0].read()


def test_reading_leaves_images_without_files_alone(tmp_path):
    class Drawn:
        def read(self):
            return PIXELS

    image = ImageRecord(id=1, file_name="x", height=2, width=3, source=Drawn())
    data = Dataset(name="x", categories=(), images=(image,))
    assert data.reading(ImageReading(percentiles=(1.0, 99.0))).images == (image,)


class Memory:
    """An image without a file."""

    def read(self):
        return PIXELS


def test_images_to_be_read_row_by_row(tmp_path):
    picture = record(tmp_path).open()
    assert isinstance(picture, FilePicture) and picture.size == (2, 3)
    np.testing.assert_array_equal(np.concatenate(list(picture.blocks())), PIXELS)
    with pytest.raises(InputError, match="the image is 3 x 2 pixels"):
        record(tmp_path, height=5).open()
    made = ImageRecord(id=1, file_name="x", height=2, width=3, source=Memory()).open()
    assert isinstance(made, ArrayPicture)
    np.testing.assert_array_equal(made.read(), PIXELS)
    limited = FileSource(path=tmp_path / "x.png", max_pixels=5)
    with pytest.raises(InputError, match="more than the limit of 5"):
        limited.open()


def test_other_channels_are_read_whole(tmp_path):
    pages = [Image.fromarray(PIXELS[:, :, 0] + i) for i in range(5)]
    path = tmp_path / "x.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    picture = FileSource(path=path, reading=ImageReading(channels=5)).open()
    assert isinstance(picture, ArrayPicture) and picture.read().shape == (2, 3, 5)


def test_first_images():
    data = scene_dataset(3, 0, size=(64, 64))
    assert data.first(2).images == data.images[:2]
    assert data.first(2).categories == data.categories and data.first(2).name == data.name
    assert data.first(9).images == data.images
    assert len(data.first(0)) == 0
