from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.core.masks import crop_from_mask
from fcis.imaging.instances import Instances
from fcis.training.validation_pictures import (
    chosen_records,
    compare,
    sheet_path,
    write_sheet,
)

from .conftest import blob, dataset_of, record_of


@pytest.fixture
def dataset():
    """Ten images of 64 x 96, of which the odd ones are empty."""
    mask = blob(64, 96, 10, 20, 24, 30)
    records = [record_of([mask], number=i) for i in range(10)]
    return dataset_of(
        [r if i % 2 == 0 else replace(r, annotations=()) for i, r in enumerate(records)]
    )


def found_in(record, masks=()):
    return Instances(
        size=(record.height, record.width),
        scores=np.full(len(masks), 0.75, dtype=np.float32),
        labels=np.ones(len(masks), dtype=np.int64),
        crops=tuple(crop_from_mask(m) for m in masks),
        class_names=("background", "r", "g", "b"),
        category_ids=(0, 10, 20, 30),
        image=record.read(),
        image_id=record.id,
    )


def test_the_choice_is_even_and_prefers_images_with_objects(dataset):
    assert [r.id for r in chosen_records(dataset, 3)] == [0, 2, 6]
    assert [r.id for r in chosen_records(dataset, 9)] == [0, 2, 4, 6, 8]
    assert chosen_records(dataset, 0) == ()
    empty = replace(dataset, images=tuple(replace(r, annotations=()) for r in dataset.images))
    assert [r.id for r in chosen_records(empty, 2)] == [0, 5]
    assert chosen_records(replace(dataset, images=()), 4) == ()


def test_a_pair_shows_what_is_annotated_and_what_was_found(dataset):
    record = dataset.images[0]
    mask = blob(64, 96, 10, 20, 24, 30)
    pair = compare(record, dataset, found_in(record, [mask]))
    assert pair.titles == ("0.png: 1 annotated", "1 found")
    assert pair.annotated.size == pair.found.size
    assert max(pair.found.size) <= 512
    plain = np.asarray(found_in(record).draw().resize(pair.found.size))
    inside = np.asarray(Image.fromarray(mask).resize(pair.found.size, Image.Resampling.NEAREST))
    for picture in (pair.annotated, pair.found):
        changed = np.abs(np.asarray(picture).astype(int) - plain).sum(axis=2) > 60
        assert changed[inside].mean() > 0.5, "the object is painted"
    nothing = compare(record, dataset, found_in(record))
    assert nothing.titles[1] == "0 found"
    assert nothing.annotated.tobytes() == pair.annotated.tobytes()
    assert nothing.found.tobytes() != pair.found.tobytes()


def test_crowd_regions_are_not_drawn(dataset):
    mask, crowd = blob(64, 96, 10, 20, 24, 30), blob(64, 96, 40, 60, 20, 30)
    record = record_of([mask], crowds=[crowd])
    with_crowd = compare(record, dataset, found_in(record))
    assert with_crowd.titles[0] == "0.png: 1 annotated"


def test_large_pictures_are_shrunk():
    mask = blob(700, 1400, 10, 20, 240, 300)
    record = record_of([mask])
    pair = compare(record, dataset_of([record]), found_in(record, [mask]))
    assert pair.found.size == pair.annotated.size == (512, 256)


def test_a_sheet_holds_all_pairs(tmp_path, dataset):
    pairs = [compare(r, dataset, found_in(r)) for r in dataset.images[:3]]
    path = write_sheet(tmp_path, 400, pairs)
    assert path == sheet_path(tmp_path, 400) == tmp_path / "pictures" / "step-000400.png"
    width, height = pairs[0].found.size
    with Image.open(path) as sheet:
        assert sheet.width > 4 * width and sheet.height > 2 * height  # two pairs in a row
    before = path.read_bytes()
    write_sheet(tmp_path, 400, pairs[:1])
    assert path.read_bytes() != before
    assert [p.name for p in path.parent.iterdir()] == ["step-000400.png"]


def test_a_folder_that_cannot_be_made(tmp_path, dataset):
    (tmp_path / "pictures").write_text("")
    pair = compare(dataset.images[0], dataset, found_in(dataset.images[0]))
    with pytest.raises(InputError, match=r"step-000001\.png: cannot be written \(File exists\)"):
        write_sheet(tmp_path, 1, [pair])
