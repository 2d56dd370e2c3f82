"""A detector that sees the truth, restricted to its tile, and one that errs at borders."""

import numpy as np
import pytest

from fcis.core.masks import MaskCrop, crop_from_mask
from fcis.imaging.instances import Instances
from fcis.inference.tiling import join
from fcis.inference.tiling.join import Joiner
from fcis.inference.tiling.tile_grid import Tiling, make_tiling, plan_tiles


def instances(size, crops, labels=None, scores=None):
    count = len(crops)
    return Instances(
        size=size,
        scores=np.array([0.5] * count if scores is None else scores, dtype=np.float32),
        labels=np.array([1] * count if labels is None else labels, dtype=np.int64),
        crops=tuple(crops),
        class_names=("background", "cell", "fibre"),
        category_ids=(0, 7, 9),
    )


def box(top, left, bottom, right):
    return MaskCrop(top=top, left=left, bits=np.ones((bottom - top, right - left), dtype=bool))


def ellipse(y, x, a, b):
    rows, columns = np.ogrid[-a : a + 1, -b : b + 1]
    inside = (rows / (a + 0.5)) ** 2 + (columns / (b + 0.5)) ** 2 <= 1
    return MaskCrop(top=y - a, left=x - b, bits=inside)


def restricted(crop, tile):
    """What a tile sees of a mask, in its own pixels; None if nothing."""
    window = np.zeros((tile.bottom - tile.top, tile.right - tile.left), dtype=bool)
    rows, columns = crop.bits.shape
    top, left = max(crop.top, tile.top), max(crop.left, tile.left)
    bottom = min(crop.top + rows, tile.bottom)
    right = min(crop.left + columns, tile.right)
    if top >= bottom or left >= right:
        return None
    window[top - tile.top : bottom - tile.top, left - tile.left : right - tile.left] = crop.bits[
        top - crop.top : bottom - crop.top, left - crop.left : right - crop.left
    ]
    return crop_from_mask(window) if window.any() else None


def joined(truth, size, tiling, *, labels=None, score=None, change=None):
    """Join what a detector of the truth finds in each tile."""
    grid = plan_tiles(size, tiling)
    joiner = Joiner(grid)
    labels = [1] * len(truth) if labels is None else labels
    for tile in grid:
        seen = [(restricted(crop, tile), i) for i, crop in enumerate(truth)]
        seen = [(crop, i) for crop, i in seen if crop is not None]
        if change is not None:
            seen = change(tile, seen)
        joiner.add(
            tile,
            instances(
                (tile.bottom - tile.top, tile.right - tile.left),
                [crop for crop, _ in seen],
                [labels[i] for _, i in seen],
                None if score is None else [score(tile, i) for _, i in seen],
            ),
        )
    assert joiner.num_pieces == 0
    return joiner.finish()


def full_masks(found):
    return sorted(mask.tobytes() for mask in found.masks)


def the_same(found, truth, labels=None):
    """Whether exactly the true masks were found, bit for bit."""
    expected = instances(found.size, truth, labels)
    assert len(found) == len(truth)
    assert full_masks(found) == full_masks(expected)


SIZE = (260, 300)
TILING = Tiling(size=100, overlap=20)  # rows at 0, 80, 160; columns at 0, 66, 133, 200

SCENES = {
    "inside one tile": [ellipse(30, 30, 10, 8)],
    "in the overlap alone": [ellipse(40, 83, 6, 5)],
    "on a seam": [ellipse(40, 100, 12, 15), ellipse(90, 30, 9, 9)],
    "at the corner of four tiles": [ellipse(90, 83, 6, 5), ellipse(90, 100, 8, 8)],
    "larger than the overlap, at the corner": [ellipse(90, 90, 30, 35)],
    "larger than a tile": [ellipse(130, 150, 120, 130)],
    "a fibre through all tiles": [box(120, 2, 124, 298)],
    "a frame of the image": [box(0, 0, 260, 300)],
    "touching on the seam": [box(20, 60, 60, 99), box(20, 99, 60, 140)],
    "touching along the seam": [box(60, 10, 90, 60), box(90, 10, 130, 60)],
    "touching in the overlap": [box(30, 70, 44, 83), box(30, 83, 44, 98), box(44, 70, 56, 98)],
    "touching at the corner of four tiles": [
        box(80, 80, 90, 90), box(80, 90, 90, 100), box(90, 80, 100, 90), box(90, 90, 100, 100),
    ],
    "large ones that touch at the corner": [
        box(50, 40, 90, 90), box(50, 90, 90, 140), box(90, 40, 140, 90), box(90, 90, 140, 140),
    ],
    "slivers": [
        box(10, 97, 30, 120), box(50, 60, 70, 101), box(97, 20, 130, 40), box(150, 50, 161, 66),
    ],
    "at the image's edges": [
        box(0, 0, 10, 10), box(250, 290, 260, 300), box(0, 95, 6, 105), box(150, 280, 190, 300),
    ],
    "a pixel": [box(90, 90, 91, 91), box(5, 99, 6, 100), box(80, 66, 81, 67)],
    "one in a ring": [
        MaskCrop(top=60, left=60, bits=np.pad(np.zeros((40, 40)), 8, constant_values=1) > 0),
        ellipse(88, 88, 8, 8),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", list(SCENES))
@pytest.mark.parametrize("tiling", [TILING, Tiling(size=64, overlap=30), make_tiling(120)])
def test_each_object_once_and_exactly(name, tiling):
    the_same(joined(SCENES[name], SIZE, tiling), SCENES[name])


@pytest.mark.parametrize("seed", range(6))
def test_a_crowd_of_touching_objects(seed):
    """Every pixel belongs to one of 150 objects: each touches its neighbours on all sides."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (150, 2)) * SIZE
    rows, columns = np.indices(SIZE)
    nearest = np.full(SIZE, -1)
    best = np.full(SIZE, np.inf)
    for i, (y, x) in enumerate(points):
        distance = (rows - y) ** 2 + (columns - x) ** 2
        nearest[distance < best] = i
        best = np.minimum(best, distance)
    truth = [crop_from_mask(nearest == i) for i in range(150)]
    the_same(joined(truth, SIZE, TILING), truth)


def test_categories_are_never_joined():
    truth = [ellipse(90, 90, 30, 35), ellipse(90, 90, 29, 34)]
    found = joined(truth, SIZE, TILING, labels=[1, 2])
    the_same(found, truth, [1, 2])
    assert sorted(found.labels.tolist()) == [1, 2]
    assert (found.class_names, found.category_ids) == (("background", "cell", "fibre"), (0, 7, 9))


def test_the_order_is_by_score():
    truth = [box(5, 5, 20, 20), box(200, 100, 220, 120), box(100, 200, 120, 220)]
    found = joined(truth, SIZE, TILING, score=lambda tile, i: (0.2, 0.9, 0.6)[i])
    np.testing.assert_allclose(found.scores, [0.9, 0.6, 0.2])
    assert [crop.top for crop in found.crops] == [200, 100, 5]


def test_nothing_found():
    found = joined([], SIZE, TILING)
    assert len(found) == 0 and found.size == SIZE


def test_the_score_of_joined_pieces_is_their_mean_by_area():
    """Two tiles, 0..100 and 80..180; the object has 60 columns in one and 70 in the other."""
    truth = [box(10, 40, 20, 150)]
    scores = (0.3, 0.9)
    found = joined(truth, (100, 180), TILING, score=lambda tile, i: scores[tile.column])
    the_same(found, truth)
    assert found.scores[0] == pytest.approx((60 * 0.3 + 70 * 0.9) / 130)


def test_what_was_seen_whole_beats_its_cut_piece_whatever_the_scores():
    truth = [box(10, 60, 20, 96)]  # whole in the left tile, cut in the right one
    found = joined(truth, (100, 180), TILING, score=lambda tile, i: (0.3, 0.9)[tile.column])
    the_same(found, truth)
    assert found.scores.tolist() == [pytest.approx(0.3)]


def test_of_two_that_saw_it_whole_the_higher_score_counts():
    truth = [box(10, 84, 20, 95)]
    found = joined(truth, (100, 180), TILING, score=lambda tile, i: (0.3, 0.9)[tile.column])
    the_same(found, truth)
    assert found.scores.tolist() == [pytest.approx(0.9)]


def test_a_sliver_is_not_trusted_where_the_neighbour_sees_it_whole():
    """The right tile makes more of what its border cuts than there is; the left one misses it."""

    def change(tile, seen):
        if tile.column == 0:
            return []
        return [(box(10, 0, 40, 15), i) for _, i in seen]

    assert len(joined([box(10, 60, 20, 84)], (100, 180), TILING, change=change)) == 0


def test_rough_masks_of_one_object_are_one_object():
    """Pieces whose outlines are off by up to three pixels, as a network's are."""
    rng = np.random.default_rng(0)

    def change(tile, seen):
        rough = []
        for crop, i in seen:
            rows, columns = crop.bits.shape
            cut = [int(n) for n in rng.integers(0, 4, 4)]
            if rows <= cut[0] + cut[1] or columns <= cut[2] + cut[3]:
                continue
            bits = crop.bits[cut[0] : rows - cut[1], cut[2] : columns - cut[3]]
            top, left = crop.top + cut[0], crop.left + cut[2]
            if bits.any():
                rough.append((MaskCrop(top=top, left=left, bits=bits), i))
        return rough

    truth = [
        ellipse(40, 90, 14, 16), ellipse(85, 30, 12, 12), ellipse(90, 90, 20, 20),
        ellipse(90, 140, 13, 18), ellipse(165, 140, 40, 45), ellipse(170, 72, 13, 14),
    ]  # fmt: skip
    for _ in range(10):
        found = joined(truth, SIZE, TILING, change=change)
        assert len(found) == len(truth)
        for crop in truth:
            mask = instances(SIZE, [crop]).masks[0]
            ious = [(mask & m).sum() / (mask | m).sum() for m in found.masks]
            assert max(ious) > 0.6


def test_two_that_one_tile_took_for_one_are_counted_as_it_or_as_they_are():
    """Never as both: the tiles disagree, and one of them is right."""
    pair = [box(10, 83, 30, 90), box(10, 90, 30, 97)]

    def change(tile, seen):
        if tile.column == 0 and len(seen) == 2:
            return [(box(10, 83, 30, 97), 0)]
        return seen

    for high in (0, 1):
        found = joined(
            pair,
            (100, 180),
            TILING,
            change=change,
            score=lambda tile, i, high=high: 0.9 if tile.column == high else 0.6,
        )
        assert (np.sum(found.masks, axis=0) <= 1).all(), "a pixel is counted twice"
        assert found.masks.any(axis=0).sum() >= 140


def test_an_object_within_another_stays_where_its_tile_saw_both():
    truth = [box(10, 84, 60, 96), box(30, 88, 40, 92)]
    the_same(joined(truth, (100, 180), TILING), truth)


def test_pieces_of_one_tile_are_never_joined():
    """A chain of masks that agree in pairs, two of them in one tile."""
    grid = plan_tiles((100, 180), TILING)
    left, right = grid
    joiner = Joiner(grid)
    joiner.add(left, instances((100, 100), [box(10, 83, 30, 97)]))
    joiner.add(
        right,
        instances((100, 100), [box(10, 3, 30, 12), box(12, 4, 30, 17)], scores=[0.6, 0.5]),
    )
    assert len(joiner.finish()) <= 2


def test_a_whole_object_that_is_not():
    """The left tile's mask ends four pixels before its border, but the object goes on."""
    truth = [box(10, 70, 30, 150)]

    def change(tile, seen):
        if tile.column == 0:
            return [(box(10, 70, 30, 95), 0)]
        return seen

    (crop,) = joined(truth, (100, 180), TILING, change=change).crops
    assert crop.left == 70 and crop.left + crop.bits.shape[1] == 150


def test_instances_must_be_of_the_tile():
    grid = plan_tiles(SIZE, TILING)
    with pytest.raises(ValueError, match=r"instances: expected a size of \(100, 100\), got"):
        Joiner(grid).add(next(iter(grid)), instances((50, 50), []))


def test_what_is_settled_is_let_go():
    """Of many rows of tiles, only those are held that the next row can touch."""
    grid = plan_tiles((2000, 100), TILING)
    joiner = Joiner(grid)
    held = []
    for tile in grid:
        crops = [box(y, x, y + 8, x + 8) for y in range(0, 92, 10) for x in range(0, 92, 10)]
        joiner.add(tile, instances((100, 100), crops))
        held.append(joiner.num_pieces)
    assert max(held) <= 60 and held[-1] == 0
    assert len(joiner.finish()) > 1500


def test_the_work_grows_with_the_number_of_objects(monkeypatch):
    """Masks are compared with their neighbours alone, however many there are."""
    compared = []
    agreement = join._agreement

    def spy(*arguments):
        compared.append(1)
        return agreement(*arguments)

    monkeypatch.setattr(join, "_agreement", spy)
    shape = ellipse(12, 12, 12, 12).bits
    for side in (600, 1800):
        compared.clear()
        grid = plan_tiles((side, side), Tiling(size=256, overlap=64))
        joiner = Joiner(grid)
        for tile in grid:
            crops = [
                MaskCrop(top=y - tile.top, left=x - tile.left, bits=shape)
                for y in range(-(-tile.top // 30) * 30, tile.bottom - 24, 30)
                for x in range(-(-tile.left // 30) * 30, tile.right - 24, 30)
            ]
            joiner.add(tile, instances((256, 256), crops))
        count = len(joiner.finish())
        assert count == ((side - 25) // 30 + 1) ** 2
        assert len(compared) < 3 * count
