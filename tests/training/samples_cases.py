"""A painted image, the changes that may be made to it, and what came of them."""

import numpy as np
import torch

from .conftest import blob, record_of


def painted_record(number=0):
    """Three L-shaped objects, apart from one another, one at the border."""
    return record_of(
        [
            blob(60, 80, 5, 6, 20, 18),
            blob(60, 80, 30, 40, 24, 30),
            blob(60, 80, 0, 50, 16, 30),
        ],
        number=number,
        crowds=[blob(60, 80, 40, 4, 12, 12)],
    )


def full_mask(mask, size):
    full = np.zeros(size)
    rows, columns = mask.values.shape
    full[mask.top : mask.top + rows, mask.left : mask.left + columns] = mask.values.numpy()
    return full


def assert_same(first, second):
    assert first.number == second.number and first.name == second.name
    assert torch.equal(first.pixels, second.pixels)
    assert first.plan == second.plan
    assert torch.equal(first.truth.boxes, second.truth.boxes)
    assert torch.equal(first.truth.labels, second.truth.labels)
    assert torch.equal(first.truth.crowds, second.truth.crowds)
    for a, b in zip(first.truth.masks, second.truth.masks, strict=True):
        assert (a.top, a.left) == (b.top, b.left) and torch.equal(a.values, b.values)


CHANGES = {
    "flip": {"flip": 1.0},
    "flip_vertical": {"flip_vertical": 1.0},
    "transpose": {"transpose": 1.0},
    "scale": {"scale": (0.7, 1.6)},
    "crop": {"crop": 40},
    "larger crop": {"crop": 150},
    "elastic": {"elastic": 2.0, "elastic_smoothness": 12.0},
    "all": {
        "flip": 0.5,
        "flip_vertical": 0.5,
        "transpose": 0.5,
        "scale": (0.7, 1.6),
        "crop": 48,
    },
}
CHANGES["all, and elastic"] = CHANGES["all"] | {"elastic": 2.0}
