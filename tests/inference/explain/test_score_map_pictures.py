"""The picture of score maps: its size, its parts, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from fcis.core.masks import MaskCrop
from fcis.imaging.instances import Instances
from fcis.inference.explain import score_map_pictures as pictures
from fcis.inference.explain.heat import SHARE_COLORS, colored
from fcis.inference.explain.score_map_pictures import (
    MOST_INSTANCES,
    WIDTH,
    draw_score_maps,
    shifted_box,
)
from fcis.inference.explain.scores import score_maps


def found(picture, *corners, labels=None):
    """Instances that fill boxes (top, left, rows, columns)."""
    count = len(corners)
    return Instances(
        size=picture.shape[:2],
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        labels=np.array([1] * count if labels is None else labels, dtype=np.int64),
        crops=tuple(
            MaskCrop(top=top, left=left, bits=np.ones((rows, columns), dtype=bool))
            for top, left, rows, columns in corners
        ),
        class_names=("background", "a", "b"),
        category_ids=(0, 1, 2),
        image=picture,
    )


def block_height(rows, columns):
    """Of one instance: titles and maps, then two rows of panels as high as the RoI's form says."""
    panel = round(256 * min(1.0, rows / columns))
    return (2 * 24 + 16 + 504 + 16) + 2 * (2 * 24 + panel + 16)


@pytest.mark.parametrize(("k", "sampling"), [(1, "align"), (3, "align"), (7, "pool")])
def test_size_follows_from_the_forms_of_the_rois(make_predictor, picture, k, sampling):
    scores = score_maps(make_predictor(k=k, sampling=sampling), picture)
    drawn = draw_score_maps(scores, found(picture, (20, 30, 30, 40)))
    assert drawn.size == (WIDTH, block_height(30, 40)) and drawn.mode == "RGB"
    two = found(picture, (20, 30, 30, 40), (10, 10, 50, 20), labels=[2, 1])
    assert draw_score_maps(scores, two).height == block_height(30, 40) + block_height(50, 20)


def test_native_samples_are_drawn_over_the_cells(make_predictor, picture):
    scores = score_maps(make_predictor(sampling="native"), picture)
    drawn = draw_score_maps(scores, found(picture, (16, 24, 32, 48)))
    assert drawn.size == (WIDTH, block_height(32, 48))


def test_the_first_few_with_pixels_are_drawn(make_predictor, picture):
    scores = score_maps(make_predictor(), picture)
    instances = found(picture, *[(10, 10 + 8 * i, 30, 30) for i in range(5)])
    high = block_height(30, 30)
    assert draw_score_maps(scores, instances).height == MOST_INSTANCES * high
    assert draw_score_maps(scores, instances, most=1).height == high
    empty = MaskCrop(top=0, left=0, bits=np.zeros((0, 0), dtype=bool))
    first = draw_score_maps(scores, instances.select(np.array([1])), most=1)
    crops = (empty, *instances.crops[1:])
    passed = draw_score_maps(scores, replace(instances, crops=crops), most=1)
    assert passed.height == first.height
    # but for their titles the same
    assert np.array_equal(np.asarray(passed)[64:], np.asarray(first)[64:])


def test_panels_show_the_readings(make_predictor, picture):
    scores = score_maps(make_predictor(sampling="pool"), picture)
    instances = found(picture, (20, 30, 36, 36))
    drawn = np.asarray(draw_score_maps(scores, instances))
    top = 2 * 24 + 16 + 504 + 16
    for row, box in enumerate([(30, 20, 66, 56), (42, 20, 78, 56)]):
        colors = colored(scores.read(box, 1).probability, 0, 1, SHARE_COLORS)
        y, x = top + row * (48 + 256 + 16) + 48, 16 + 3 * (256 + 16)
        panel = drawn[y : y + 256, x : x + 256]
        middles = ((np.arange(9) + 0.5) * 256 / 9).astype(int)
        assert np.array_equal(panel[np.ix_(middles, middles)], colors)


def test_one_scale_of_colours_for_all_instances(make_predictor, picture, monkeypatch):
    """Together, the one with the lower scores has paler colours than alone."""
    monkeypatch.setattr(pictures, "_LIMIT_PERCENT", 100)
    scores = score_maps(make_predictor(), picture)
    both = found(picture, (8, 8, 30, 30), (45, 70, 30, 30), labels=[1, 2])
    together = np.asarray(draw_score_maps(scores, both))
    blocks = np.split(together, 2)
    same = []
    for number, block in enumerate(blocks):
        alone = np.asarray(draw_score_maps(scores, both.select(np.array([number]))))
        # below the titles, which say how many there are
        same.append(np.array_equal(block[64:], alone[64:]))
    assert sorted(same) == [False, True]


def test_nothing_to_draw_is_refused(make_predictor, picture):
    scores = score_maps(make_predictor(), picture)
    for instances, most in ((found(picture), 3), (found(picture, (1, 1, 9, 9)), 0)):
        with pytest.raises(ValueError, match=r"^instances: expected at least one to draw, got "):
            draw_score_maps(scores, instances, most=most)


@pytest.mark.parametrize(
    ("box", "moved", "name"),
    [
        ((0, 0, 30, 60), (10, 0, 40, 60), "right"),
        ((70, 0, 100, 60), (60, 0, 90, 60), "left"),
        ((2, 0, 98, 30), (2, 10, 98, 40), "down"),
        ((2, 50, 98, 80), (2, 40, 98, 70), "up"),
        ((0, 0, 99, 78), (33, 0, 132, 78), "right"),
    ],
)
def test_a_box_is_moved_where_the_image_goes_on(box, moved, name):
    got, direction = shifted_box(np.array(box, dtype=np.float32), (80, 100))
    assert direction == name
    np.testing.assert_allclose(got, moved, rtol=1e-6)


def test_a_row_or_column_of_pixels_can_be_drawn(make_predictor, picture):
    scores = score_maps(make_predictor(), picture)
    drawn = draw_score_maps(scores, found(picture, (20, 30, 1, 40), (0, 125, 93, 1)))
    assert drawn.size == (WIDTH, block_height(1, 40) + block_height(93, 1))
