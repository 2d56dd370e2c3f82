import numpy as np
from PIL import Image

from fcis.inference.explain.heat import (
    INK,
    PAPER,
    SCORE_COLORS,
    colored,
    draw_box,
    scale_bar,
    window_heat,
    window_image,
)

WINDOW = (0.0, 0.0, 40.0, 40.0)


def test_colours_lie_between_their_stops():
    values = np.array([[-9.0, -1.0, -0.75, 0.0, 0.5, 9.0]])
    got = colored(values, -1, 1, ["000000", "0000ff", "ffffff"])[0].tolist()
    assert got[:4] == [[0, 0, 0], [0, 0, 0], [0, 0, 64], [0, 0, 255]]
    assert got[4:] == [[128, 128, 255], [255, 255, 255]]


def test_scores_of_both_signs_differ_and_zero_is_neutral():
    low, zero, high = colored(np.array([[-1.0, 0.0, 1.0]]), -1, 1, SCORE_COLORS)[0].astype(int)
    assert low[2] > low[0] + 50 and high[0] > high[2] + 50
    assert np.ptp(zero) == 0


def test_a_window_shows_its_own_pixels():
    image = np.zeros((20, 40, 3), dtype=np.uint8)
    image[:, 20:] = 200
    window = np.asarray(window_image(image, (10.0, 5.0, 30.0, 15.0), (40, 20)))
    assert window.shape == (20, 40, 3)
    # interpolated within two pixels of the edge, which are four here
    assert (window[:, :16] == 0).all() and (window[:, 24:] == 200).all()
    assert (window[:, 19] < 100).all() and (window[:, 20] > 100).all()


def test_each_cell_of_a_map_lies_where_it_was_computed():
    image = np.full((40, 40, 3), 100, dtype=np.uint8)
    maps = np.zeros((4, 5), dtype=np.float32)
    maps[2, 1] = 3.0
    # cells of 10 x 8 pixels, so this one covers x 8..16 and y 20..30; twice as large here
    heat = window_heat(image, maps, (10.0, 8.0), (4.0, 10.0, 24.0, 35.0), (40, 50), 3.0)
    assert heat.size == (40, 50)
    red = np.asarray(heat).astype(int)
    red = red[..., 0] - red[..., 2] > 50
    expected = np.zeros((50, 40), dtype=bool)
    expected[20:40, 8:24] = True
    assert np.array_equal(red, expected)


def test_a_heat_map_lets_the_image_be_seen():
    image = np.full((10, 10, 3), 0, dtype=np.uint8)
    image[:, 5:] = 255
    maps = np.zeros((1, 1), dtype=np.float32)
    heat = np.asarray(window_heat(image, maps, (10, 10), (0, 0, 10, 10), (10, 10), 1.0))
    assert heat[5, 8, 0] - heat[5, 1, 0].astype(int) > 50


def test_borders_of_boxes():
    picture = Image.new("RGB", (80, 80), (90, 90, 90))
    draw_box(picture, (10.0, 10.0, 30.0, 20.0), WINDOW, (255, 0, 0))
    pixels = np.asarray(picture)
    # twice as large: two pixels inside x 20..60, y 20..40, and a light one outside
    assert (pixels[30, 20:22] == (255, 0, 0)).all() and (pixels[30, 58:60] == (255, 0, 0)).all()
    assert (pixels[20:22, 40] == (255, 0, 0)).all() and (pixels[38:40, 40] == (255, 0, 0)).all()
    assert tuple(pixels[30, 19]) == tuple(pixels[30, 60]) == PAPER
    assert (pixels[30, 22:58] == 90).all() and (pixels[30, 61:] == 90).all()


def test_small_boxes_have_a_thin_border():
    picture = Image.new("RGB", (40, 40), (90, 90, 90))
    draw_box(picture, (10.0, 10.0, 15.0, 15.0), WINDOW, (255, 0, 0))
    pixels = np.asarray(picture)
    assert (pixels[12, [10, 14]] == (255, 0, 0)).all()
    assert (pixels[12, [9, 11, 13, 15]] == 90).all()


def test_dashes_have_gaps():
    picture = Image.new("RGB", (80, 80), (90, 90, 90))
    draw_box(picture, (5.0, 5.0, 35.0, 35.0), WINDOW, (255, 0, 0), dashed=True)
    side = np.asarray(picture)[30:54, 10]
    assert 8 <= (side == (255, 0, 0)).all(axis=1).sum() <= 16


def test_a_box_outside_the_window_is_cut():
    picture = Image.new("RGB", (40, 40), (90, 90, 90))
    draw_box(picture, (-50.0, -50.0, 100.0, 100.0), WINDOW, (255, 0, 0))
    assert (np.asarray(picture) == 90).all()


def test_a_bar_runs_from_end_to_end():
    bar = np.asarray(scale_bar(["000000", "ffffff"], ("0", "1"), (100, 30)))
    assert bar.shape == (30, 100, 3)
    assert np.array_equal(bar[0, [0, 99]], [[0, 0, 0], [255, 255, 255]])
    assert (np.diff(bar[5, :, 0].astype(int)) >= 0).all()
    below = bar[15:]
    assert (below[:, :20] == INK).all(axis=2).any() and (below[:, 80:] == INK).all(axis=2).any()
    assert (below[:, 30:70] == PAPER).all()
