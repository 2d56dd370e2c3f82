import numpy as np
import pytest
from scipy import ndimage

from fcis.data.scenes.cell_layout import draw_cells
from fcis.data.scenes.cell_paint import paint_cells
from fcis.data.scenes.shape_distances import Silhouette
from fcis.data.scenes.shape_layout import Layout, Placed


@pytest.fixture(scope="module")
def painted():
    layouts = [draw_cells(np.random.default_rng([5, i]), 144, 144) for i in range(25)]
    return [(o, paint_cells(o, np.random.default_rng([6, i]))) for i, o in enumerate(layouts)]


def block(top=20, left=20, side=60):
    """A large square nucleus in an image of 100 x 100 px."""
    bits = np.ones((side, side), dtype=bool)
    silhouette = Silhouette(bits=bits, cover=bits.astype(np.float32))
    owner = np.full((100, 100), -1, dtype=np.int16)
    placed = Placed(label=1, silhouette=silhouette, diameter=20.0, top=top, left=left)
    owner[placed.window(100, 100)] = 0
    return Layout(objects=(placed,), owner=owner)


def test_nuclei_are_brighter_than_what_is_around_them(painted):
    gaps = []
    for layout, image in painted:
        empty = ndimage.binary_erosion(layout.owner < 0, iterations=2)
        for index in range(len(layout.objects)):
            mask = layout.owner == index
            around = ndimage.binary_dilation(mask, iterations=8) & empty
            if around.sum() > 20 and mask.sum() > 30:
                gaps.append(image[mask].mean() - image[around].mean())
    assert len(gaps) > 200
    assert min(gaps) > 3 and np.median(gaps) > 25


def test_levels_are_dark_with_few_that_are_saturated(painted):
    levels = np.stack([image for _, image in painted])
    assert levels.dtype == np.uint8 and levels.shape == (25, 144, 144)
    grounds = [np.median(image[layout.owner < 0]) for layout, image in painted]
    assert min(grounds) > 1 and max(grounds) < 60 and len(set(grounds)) > 10
    assert (levels == 255).mean() < 0.01 and levels.max() > 200


def test_nuclei_of_an_image_differ_in_brightness(painted):
    means = [
        [image[layout.owner == i].mean() for i in range(len(layout.objects))]
        for layout, image in painted
        if len(layout.objects) >= 10
    ]
    assert len(means) >= 8
    assert np.mean([np.std(of_image) / np.mean(of_image) for of_image in means]) > 0.15


def test_noise_is_that_of_photons_and_of_the_camera():
    """Differences of neighbours: their variance is linear in the level, and above 0 at 0."""
    dark, bright = [], []
    for seed in range(30):
        image = paint_cells(block(), np.random.default_rng(seed)).astype(float)
        steps = np.diff(image, axis=1) / np.sqrt(2)
        dark.append((image[:, :8].mean(), steps[:, :7].var()))
        bright.append((image[30:70, 30:70].mean(), steps[30:70, 30:69].var()))
    dark, bright = np.array(dark), np.array(bright)
    assert (dark[:, 1] > 0.05).all()  # more than rounding to whole levels alone would leave
    # fine texture is in the bright one too; photon noise alone doubles it and more
    assert np.median(bright[:, 1] / dark[:, 1]) > 2


def test_the_ground_slopes():
    empty = Layout(objects=(), owner=np.full((100, 100), -1, dtype=np.int16))
    slopes = []
    for seed in range(20):
        image = paint_cells(empty, np.random.default_rng(seed)).astype(float)
        assert image.shape == (100, 100) and image.std() > 0.2
        corners = ndimage.uniform_filter(image, 25)[[12, 12, 87, 87], [12, 87, 12, 87]]
        slopes.append(np.ptp(corners) / image.mean())
    assert np.median(slopes) > 0.1


def test_outlines_are_blurred():
    image = np.mean([paint_cells(block(), np.random.default_rng(s)) for s in range(40)], axis=0)
    profile = image[30:70].mean(axis=0)[10:30]  # from the ground into the nucleus
    share = (profile - profile[0]) / (profile[-1] - profile[0])
    assert share[9] < 0.5 < share[10]  # its edge is where the mask begins
    assert share[9] > 0.1 and share[10] < 0.9


def test_a_nucleus_that_the_edge_cuts():
    image = paint_cells(block(top=-30, left=70), np.random.default_rng(0))
    assert image[:20, 80:].mean() > 2 * image[50:, :50].mean()


def test_it_is_a_function_of_layout_and_stream():
    layout = draw_cells(np.random.default_rng(1), 96, 80)
    first, same, other = (paint_cells(layout, np.random.default_rng(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
