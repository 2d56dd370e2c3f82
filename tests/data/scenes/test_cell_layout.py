import numpy as np
import pytest
from scipy import ndimage

from fcis.data.scenes.cell_layout import _outline, draw_cells

SIZE = (128, 160)


@pytest.fixture(scope="module")
def layouts():
    return [draw_cells(np.random.default_rng([3, i]), *SIZE) for i in range(60)]


def touching(layout):
    """Return how many nuclei have a pixel beside one of another nucleus."""
    owner, found = layout.owner, set()
    for a, b in ((owner[1:], owner[:-1]), (owner[:, 1:], owner[:, :-1])):
        meets = (a != b) & (a >= 0) & (b >= 0)
        found |= set(a[meets].tolist()) | set(b[meets].tolist())
    return len(found)


def test_images_differ_in_number_size_and_cover(layouts):
    counts = [len(layout.objects) for layout in layouts]
    usual = [np.median([o.diameter for o in layout.objects]) for layout in layouts]
    cover = [(layout.owner >= 0).mean() for layout in layouts]
    assert min(counts) >= 1 and min(counts) < 5 and max(counts) > 30
    # 128 / 8 is the largest radius that is usual here, and one nucleus differs by up to 0.3 of it
    assert 7 < min(usual) < 14 and 24 < max(usual) <= 2 * 1.3 * 16
    assert min(cover) < 0.07 and 0.2 < max(cover) < 0.36


def test_most_images_have_nuclei_that_touch(layouts):
    shares = [touching(layout) / len(layout.objects) for layout in layouts]
    assert np.mean([share > 0 for share in shares]) > 0.6
    assert 0.3 < np.mean(shares) < 0.8


def test_owners_follow_from_putting_each_nucleus_behind_the_others(layouts):
    for layout in layouts[:20]:
        canvas = np.full((300, 300), -1)
        for index, o in enumerate(layout.objects):
            h, w = o.silhouette.sides
            window = canvas[80 + o.top :, 80 + o.left :][:h, :w]
            window[o.silhouette.bits & (window < 0)] = index
        np.testing.assert_array_equal(layout.owner, canvas[80:208, 80:240])


def test_each_nucleus_is_one_piece_of_which_little_is_hidden(layouts):
    cut = hidden = 0
    for layout in layouts:
        for index, o in enumerate(layout.objects):
            mask = layout.owner == index
            assert ndimage.label(mask)[1] == 1
            inside = int(o.silhouette.bits[o.inside(*SIZE)].sum())
            whole, seen = int(o.silhouette.bits.sum()), int(mask.sum())
            assert seen >= 0.3 * whole and inside - seen <= 0.12 * whole
            assert layout.visible(index).area == seen
            cut, hidden = cut + (inside < whole), hidden + (seen < inside)
    assert cut > 20 and hidden > 100  # both occur


def test_outlines_are_ellipses_that_stay_within_their_frame():
    turns = np.linspace(0, 2 * np.pi, 180)[None]
    ratios = []
    for seed in range(60):
        shape = _outline(np.random.default_rng(seed))
        assert (shape.distance(1.125 * np.cos(turns), 1.125 * np.sin(turns)) > 0).all()
        assert (shape.distance(0.52 * np.cos(turns), 0.52 * np.sin(turns)) < 0).all()
        side = np.linspace(-1.3, 1.3, 131)
        inside = shape.distance(*np.meshgrid(side, side)) < 0
        ratios.append(inside.any(axis=1).sum() / inside.any(axis=0).sum())
    assert 0.55 < min(ratios) < 0.7 and 0.9 < max(ratios) < 1.15


def test_the_same_stream_draws_the_same():
    first, second = (draw_cells(np.random.default_rng(4), 64, 64) for _ in range(2))
    np.testing.assert_array_equal(first.owner, second.owner)
    assert len(first.objects) == len(second.objects) >= 1


def test_there_is_a_bound_on_their_number(monkeypatch):
    monkeypatch.setattr("fcis.data.scenes.cell_layout._MOST_NUCLEI", 6)
    counts = [len(draw_cells(np.random.default_rng([3, i]), *SIZE).objects) for i in range(8)]
    assert max(counts) == 6


@pytest.mark.parametrize("size", [(63, 100), (100, 63)])
def test_images_that_are_too_small(size):
    message = f"^size: expected sides of 64 px or more, got {size[0]}, {size[1]}$"
    with pytest.raises(ValueError, match=message):
        draw_cells(np.random.default_rng(0), *size)
