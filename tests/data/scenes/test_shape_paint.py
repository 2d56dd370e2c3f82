from dataclasses import replace

import numpy as np
from scipy import ndimage, stats

from fcis.data.scenes.shape_layout import Layout, draw_layout
from fcis.data.scenes.shape_paint import paint


def scene(index):
    return draw_layout(np.random.default_rng([11, index]), 192, 192)


def test_no_category_is_looked_at():
    layout = scene(0)
    relabelled = Layout(
        objects=tuple(replace(o, label=o.label % 8 + 1) for o in layout.objects),
        owner=layout.owner,
    )
    first = paint(layout, np.random.default_rng(0))
    np.testing.assert_array_equal(first, paint(relabelled, np.random.default_rng(0)))
    assert not np.array_equal(first, paint(layout, np.random.default_rng(1)))


def test_colours_do_not_tell_the_category():
    labels, colours = [], []
    for index in range(60):
        layout = scene(index)
        image = paint(layout, np.random.default_rng([12, index]))
        for number, placed in enumerate(layout.objects):
            labels.append(placed.label)
            colours.append(image[layout.owner == number].mean(axis=0))
    labels, colours = np.array(labels), np.array(colours)
    assert colours.std(axis=0).min() > 40  # colours do vary
    for channel in range(3):
        groups = [colours[labels == label, channel] for label in range(1, 9)]
        assert stats.f_oneway(*groups).pvalue > 0.001


def test_objects_stand_out_from_the_background_at_their_outline():
    gaps = []
    for index in range(30):
        layout = scene(index)
        image = paint(layout, np.random.default_rng([13, index])).astype(float)
        free = ndimage.binary_erosion(layout.owner < 0)
        for number in range(len(layout.objects)):
            mask = layout.owner == number
            around = ndimage.binary_dilation(mask, iterations=5) & free
            if around.sum() >= 30:
                gap = image[mask].mean(axis=0) - image[around].mean(axis=0)
                gaps.append(np.sqrt((gap**2).sum()))
    assert len(gaps) > 150
    assert min(gaps) > 35 and np.quantile(gaps, 0.05) > 60


def test_edges_of_the_picture_are_the_edges_of_the_masks():
    # Two paintings of one layout differ in everything but the outlines: the mean of many local
    # gradients is highest next to a mask's outline.
    layout = scene(3)
    strength = np.zeros(layout.owner.shape)
    for seed in range(20):
        gray = paint(layout, np.random.default_rng(seed)).astype(float).mean(axis=2)
        strength += np.hypot(*np.gradient(gray))
    owner = layout.owner
    outline = np.zeros(owner.shape, dtype=bool)
    outline[1:] |= owner[1:] != owner[:-1]
    outline[:-1] |= owner[1:] != owner[:-1]
    outline[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    outline[:, :-1] |= owner[:, 1:] != owner[:, :-1]
    far = ~ndimage.binary_dilation(outline, iterations=2)
    assert np.quantile(strength[outline], 0.1) > np.quantile(strength[far], 0.9)


def test_backgrounds_are_textured():
    for index in range(12):
        layout = scene(index)
        image = paint(layout, np.random.default_rng(index)).astype(float)
        empty = ndimage.binary_erosion(layout.owner < 0, iterations=2)
        assert image[empty].std(axis=0).max() > 3


def test_an_empty_layout_is_a_background():
    layout = Layout(objects=(), owner=np.full((64, 80), -1, dtype=np.int16))
    image = paint(layout, np.random.default_rng(0))
    assert image.shape == (64, 80, 3) and image.dtype == np.uint8 and image.std() > 1
