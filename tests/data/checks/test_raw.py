"""Raw datasets that come from no file, and what readers say of one file of many."""

from pathlib import Path

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.data.checks.check import refuse
from fcis.data.checks.faults import DAMAGED_RLE, Problem
from fcis.data.checks.raw import FileProblem, RawImage, problem_of, raw_of
from fcis.data.dataset import Annotation, Category, Dataset, ImageRecord, Polygons
from fcis.data.scenes.shape_scenes import SceneSource, scene_dataset


def test_a_dataset_comes_out_as_it_was():
    dataset = scene_dataset(2, 3, size=(64, 96))
    raw = raw_of(dataset)
    assert raw.name == dataset.name and raw.categories == dataset.categories
    assert raw.images[0].source == SceneSource(seed=3, index=0, size=(64, 96))
    (first, *_) = raw.images[0].objects((64, 96))
    image = dataset.images[0]
    own = image.annotations[0].id
    assert first.where == f"annotation {own!r} (image {image.id!r}, {image.file_name})"
    assert refuse(raw) == dataset


def test_outlines_stay_outlines():
    part = np.array([1.0, 1, 9, 1, 9, 9])
    annotation = Annotation(
        id="a", category_id=4, box=(1.0, 1.0, 9.0, 9.0), area=32.0, is_crowd=True,
        mask=Polygons(parts=(part,), height=20, width=30),
    )  # fmt: skip
    source = SceneSource(seed=0, index=0, size=(64, 64))
    record = ImageRecord(
        id=1, file_name="a", height=20, width=30, source=source, annotations=(annotation,)
    )
    dataset = Dataset(name="d", categories=(Category(id=4, name="x"),), images=(record,))
    (raw,) = raw_of(dataset).images[0].objects((20, 30))
    assert raw.segmentation[0] is part
    assert (raw.id, raw.category_id, raw.bbox, raw.area) == ("a", 4, [1, 1, 8, 8], 32)
    assert raw.is_crowd == 1


def test_places_of_images():
    image = RawImage(id="x", file_name="x.png", source=None)
    assert image.place == "image 'x' (x.png)"
    assert image.problems == () and list(image.objects((1, 1))) == []


def test_one_file_of_many():
    path = Path("masks/a.png")
    error = FileProblem(path, DAMAGED_RLE, "is a photo", "export it; twice")
    assert str(error) == "masks/a.png: is a photo; export it; twice"
    assert isinstance(error, InputError) and error.where == "masks/a.png:"
    expected = Problem(DAMAGED_RLE, "is a photo", "export it; twice")
    assert error.problem == expected == problem_of(error, path, DAMAGED_RLE)
    with pytest.raises(InputError, match=r"^masks/a\.png: is a photo; export it; twice$"):
        raise error
