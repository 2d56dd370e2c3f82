"""Boxes, probabilities and masks of RoIs, and what they are voted into."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from fcis.model import voting
from fcis.model.voting import select, voting_pairs, whole_pixels
from fcis.recipe.conventions import CHAINERCV, PAPER, RELEASE, with_conventions
from fcis.recipe.types import DetectionRecipe
from fcis.structures import MaskGrids

DETECTION = DetectionRecipe()
# every detection keeps its own mask alone, as finely as pixels are
DIRECT = {**RELEASE, "store_grid": False}
IMAGE = (36, 44)  # height, width


def boxes_of(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def paste(crop, size=IMAGE):
    full = np.zeros(size, dtype=bool)
    if crop is not None:
        rows, columns = crop.bits.shape
        full[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.bits
    return full


@dataclass
class Grid:
    """The mask of a RoI: values, the box they cover evenly, and the whole pixels it fills."""

    values: np.ndarray
    extent: tuple
    window: tuple


def random_case(seed, *, count=14, classes=4, native=False):
    """Boxes in groups that overlap, probabilities, and a mask for each RoI and category."""
    rng = np.random.default_rng(seed)
    height, width = IMAGE
    centres = rng.uniform((4, 4), (width - 4, height - 4), (4, 2))
    centre = centres[rng.integers(0, 4, count)] + rng.normal(0, 1.5, (count, 2))
    half = rng.uniform(3, 11, (count, 2)) / 2 * (1 + rng.integers(0, 2, (count, 1)))
    corners = np.concatenate([centre - half, centre + half], axis=1)
    corners[:, :2] = np.clip(corners[:, :2], 0, (width - 1, height - 1))
    corners[:, 2:] = np.clip(corners[:, 2:], 1, (width, height))
    # one pixel, one column, the corners of the image, the whole image
    corners[:5] = [
        (7, 9, 8, 10),
        (20, 2, 21, 30),
        (width - 1, height - 1, width, height),
        (0, 0, 5.3, 4.2),
        (0, 0, width, height),
    ]
    boxes = torch.from_numpy(corners).float()
    logits = torch.from_numpy(rng.normal(0, 2, (count, classes))).float()
    windows = whole_pixels(boxes).tolist()
    grids = {}
    for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        extent, shape = tuple(windows[i]), (21, 21)
        if native:  # cells of 5 px, as many as the box touches
            ends = [math.floor(v / 5) for v in (x0, y0)] + [math.ceil(v / 5) for v in (x1, y1)]
            extent = tuple(5.0 * v for v in ends)
            shape = (ends[3] - ends[1], ends[2] - ends[0])
        for category in range(classes):
            values = rng.random(shape).astype(np.float32)
            grids[i, category] = Grid(values=values, extent=extent, window=tuple(windows[i]))
    return boxes, logits.softmax(dim=1), grids


def mask_grids(grids, rois, classes):
    """The grids of RoIs and categories as a record, padded to a common shape, and windows."""
    chosen = [grids[pair] for pair in zip(rois.tolist(), classes.tolist(), strict=True)]
    shapes = torch.tensor([g.values.shape for g in chosen], dtype=torch.int64).reshape(-1, 2)
    rows, columns = shapes.amax(dim=0).tolist() if chosen else (1, 1)
    values = torch.zeros(len(chosen), rows, columns)
    for target, grid in zip(values, chosen, strict=True):
        h, w = grid.values.shape
        target[:h, :w] = torch.as_tensor(grid.values)
    windows = torch.tensor([g.window for g in chosen], dtype=torch.int64).reshape(-1, 4)
    extents = torch.tensor([g.extent for g in chosen], dtype=torch.float32).reshape(-1, 4)
    return MaskGrids(values=values, shapes=shapes, extents=extents), windows


def run(boxes, probs, grids, recipe=DETECTION, conventions=RELEASE, *, grid_size=21):
    recipe = with_conventions(recipe, conventions)
    selection = select(boxes, probs, recipe)
    rois, classes, grid_of = voting_pairs(selection, probs, recipe)
    found = mask_grids(grids, rois, classes)
    crops, _ = voting.vote(selection, *found, grid_of, recipe, grid_size=grid_size)
    return selection, crops


SETTINGS = {
    "release": RELEASE,
    "paper": PAPER,
    "port": CHAINERCV,
    "scratch": {**RELEASE, "vote": "probability", "store_grid": False},
    "paper but stored": {**PAPER, "store_grid": True},
    "release but best category": {**RELEASE, "assignment": "best-category"},
    "release but voted": {**RELEASE, "mask_category": "voted", "foreground_at_equal": False},
}


def probabilities(*rows):
    return torch.tensor(rows, dtype=torch.float32)


TWO = boxes_of((0, 0, 10, 10), (0, 0, 10, 5))
