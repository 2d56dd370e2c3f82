import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.core.masks import crop_from_mask
from fcis.imaging.instances import Instances
from fcis.imaging.strips.picture import ArrayPicture
from fcis.inference.tiling.tile_by_tile import detect_tiles
from fcis.inference.tiling.tile_grid import Tiling, plan_tiles

GRID = plan_tiles((180, 250), Tiling(size=100, overlap=20))


def squares(reads):
    """Find everything that is not black as one object a level."""
    for read in reads:
        image = read()
        levels = [level for level in np.unique(image).tolist() if level]
        yield Instances(
            size=image.shape[:2],
            scores=np.array([level / 255 for level in levels], dtype=np.float32),
            labels=np.ones(len(levels), dtype=np.int64),
            crops=tuple(crop_from_mask(image[:, :, 0] == level) for level in levels),
            class_names=("background", "thing"),
            category_ids=(0, 1),
        )


def picture():
    image = np.zeros((180, 250, 3), dtype=np.uint8)
    image[70:110, 60:110] = 100
    image[70:110, 110:120] = 200
    image[10:20, 10:20] = 50
    return image


def test_what_tiles_see_is_joined():
    image = picture()
    found = detect_tiles(ArrayPicture(image), GRID, squares)
    np.testing.assert_allclose(found.scores * 255, [200, 100, 50])
    for mask, level in zip(found.masks, (200, 100, 50), strict=True):
        np.testing.assert_array_equal(mask, image[:, :, 0] == level)
    assert found.image is None and found.size == (180, 250)


def test_it_can_be_watched():
    calls = []

    def watch(items, *, total):
        for count, item in enumerate(items, start=1):
            calls.append((count, total))
            yield item

    detect_tiles(ArrayPicture(picture()), GRID, squares, watch=watch)
    assert calls == [(count, 6) for count in range(1, 7)]


def test_a_tile_that_fails_ends_the_work():
    closed = []

    def detect(reads):
        try:
            for number, found in enumerate(squares(reads)):
                yield InputError("too little memory") if number == 2 else found
        finally:
            closed.append(1)

    with pytest.raises(InputError, match="too little memory"):
        detect_tiles(ArrayPicture(picture()), GRID, detect)
    assert closed == [1]
