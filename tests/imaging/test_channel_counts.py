"""Numbers of channels: what a network is given, and what is shown."""

import numpy as np
import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.imaging.channel_counts import as_picture, fit_channels


def test_equal_numbers_are_left_alone():
    image = np.zeros((2, 3, 5), dtype=np.uint8)
    assert fit_channels(image, 5) is image


def test_brightness_is_that_of_pillow_to_a_level():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).convert("L"))
    found = fit_channels(image, 1)
    assert found.shape == (20, 30, 1)
    assert np.abs(found[:, :, 0].astype(int) - expected).max() <= 1


def test_grey_keeps_its_levels_both_ways():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert np.array_equal(fit_channels(fit_channels(grey, 3), 1), grey)


@pytest.mark.parametrize(("found", "count"), [(3, 4), (4, 3), (1, 2), (2, 1)])
def test_other_numbers_are_refused(found, count):
    plural = "" if found == 1 else "s"
    with pytest.raises(InputError, match=f"has {found} channel{plural}, the network takes {count}"):
        fit_channels(np.zeros((2, 2, found), dtype=np.uint8), count)


def test_what_is_shown():
    image = np.arange(2 * 2 * 5, dtype=np.uint8).reshape(2, 2, 5)
    assert np.array_equal(as_picture(image), image[:, :, :3])
    assert as_picture(image[:, :, :3]).shape == (2, 2, 3)
    grey = as_picture(image[:, :, :1])
    assert np.array_equal(grey[:, :, 0], grey[:, :, 2])
    two = as_picture(image[:, :, :2])
    assert np.array_equal(two[:, :, :2], image[:, :, :2]) and not two[:, :, 2].any()
