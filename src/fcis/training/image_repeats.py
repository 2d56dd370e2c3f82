"""How often each image comes in an epoch: images of rare categories more often than others.

After Gupta, Dollar and Girshick, LVIS: A Dataset for Large Vocabulary Instance Segmentation,
CVPR 2019, repeat-factor sampling.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float64, Int64

_STEPS = 1 << 20  # of the random offset, few enough for exact sums


def repeat_factors(
    categories: Sequence[Collection[int]], threshold: float
) -> Float64[np.ndarray, " image"]:
    """Return how often each image should come in an epoch, 1 or more.

    A category in the share f of the images asks for max(1, sqrt(threshold / f)); an image gets
    the most that one of its categories asks for.

    Args:
        categories: of the objects of each image.
        threshold: share of the images below which a category is repeated; 0 repeats none.
    """
    counts = Counter(c for image in categories for c in set(image))
    asked = {
        c: max(1.0, math.sqrt(threshold * len(categories) / count)) for c, count in counts.items()
    }
    return np.array(
        [max((asked[c] for c in image), default=1.0) for image in categories], dtype=np.float64
    )


def epoch_length(factors: Float64[np.ndarray, " image"]) -> int:
    """Return the number of samples of an epoch: the sum of the factors, rounded up."""
    return math.ceil(round(float(factors.sum()), 6))


def epoch_order(
    factors: Float64[np.ndarray, " image"], rng: np.random.Generator
) -> Int64[np.ndarray, " sample"]:
    """Return the images of an epoch, in random order, as many as `epoch_length` says.

    A factor is rounded up or down at random, so that its mean over epochs is right. Rounding is
    done jointly (the images in a random order along a line, each as long as its factor; marks at
    a distance of 1 from a random start; an image comes once for each of its marks): all epochs
    are of the same length, and a sample's number says its epoch without looking at those before.
    To have a whole length, factors are stretched by less than 1 / length.
    """
    total = epoch_length(factors)
    if total == len(factors):
        return rng.permutation(total)
    line = rng.permutation(len(factors))
    start = int(rng.integers(_STEPS)) / _STEPS
    ends = np.cumsum(factors[line])
    marks = np.minimum(np.floor(ends * (total / ends[-1]) + start), total).astype(np.int64)
    marks[-1] = total
    return rng.permutation(np.repeat(line, np.diff(marks, prepend=0)))
