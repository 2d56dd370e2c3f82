"""Images of noise, and whether two results are the same."""

import numpy as np


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def same(first, second):
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.masks, second.masks)
