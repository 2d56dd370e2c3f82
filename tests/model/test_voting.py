"""Suppression, voting and pasting against a slow reference, hand cases and ChainerCV."""

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch

from fcis.model import vote_counting as counting
from fcis.model import voting
from fcis.model.voting import MaskGrids, select, vote, voting_pairs, whole_pixels
from fcis.recipe.conventions import CHAINERCV, PAPER, RELEASE
from fcis.recipe.types import DetectionRecipe

DETECTION = DetectionRecipe()
# every detection keeps its own mask alone, as finely as pixels are
DIRECT = replace(RELEASE, store_grid=False)
IMAGE = (36, 44)  # height, width
# A pixel whose value is that close to the threshold may fall on either side
UNSURE = 1e-4


def boxes_of(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def paste(crop, size=IMAGE):
    full = np.zeros(size, dtype=bool)
    if crop is not None:
        rows, columns = crop.bits.shape
        full[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.bits
    return full


# The slow reference, from the words of the specification (5.2, 5.3): loops over categories,
# detections, voters and pixels, in double precision, without windows, chunks or matrices.


@dataclass
class Grid:
    """The mask of a RoI: values, the box they cover evenly, and the whole pixels it fills."""

    values: np.ndarray
    extent: tuple
    window: tuple


def slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    return np.float32(overlap / union)


def slow_nms(boxes, scores, candidates, threshold, at_equal):
    limit, kept = np.float32(threshold), []
    for i in sorted(candidates, key=lambda i: -scores[i]):
        overlaps = [slow_iou(boxes[i], boxes[j]) for j in kept]
        if not any(o > limit or (at_equal and o == limit) for o in overlaps):
            kept.append(i)
    return kept


def slow_select(boxes, probs, recipe, conventions):
    """(RoI, label, score) of each detection, best first."""
    n, classes = probs.shape
    found = []
    if conventions.assignment == "best-category":
        best = [1 + int(np.argmax(p[1:])) for p in probs]
        scores = [p[b] for p, b in zip(probs, best, strict=True)]
        candidates = [i for i in range(n) if scores[i] >= recipe.min_score]
        kept = slow_nms(boxes, scores, candidates, recipe.nms, conventions.nms_at_equal)
        found = [(i, best[i], scores[i]) for i in kept]
    else:
        for label in range(1, classes):
            # all RoIs take part; those below the least score are left out afterwards
            kept = slow_nms(boxes, probs[:, label], range(n), recipe.nms, conventions.nms_at_equal)
            found += [(i, label, probs[i, label]) for i in kept]
        found = [f for f in found if f[2] >= recipe.min_score]
    return sorted(found, key=lambda f: -f[2])[: recipe.max_detections]


def slow_sample(values, y, x):
    """Bilinear value at fractional row y and column x, edges repeated."""
    rows, columns = values.shape
    y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
    top, left = min(int(y), max(rows - 2, 0)), min(int(x), max(columns - 2, 0))
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    b, r = y - top, x - left
    upper = values[top, left] * (1 - r) + values[top, right] * r
    lower = values[bottom, left] * (1 - r) + values[bottom, right] * r
    return upper * (1 - b) + lower * b


def slow_enlarge(grid, size):
    """A grid over the whole image, zero outside its window."""
    image = np.zeros(size)
    rows, columns = grid.values.shape
    x0, y0, x1, y1 = grid.extent
    for y in range(grid.window[1], grid.window[3]):
        for x in range(grid.window[0], grid.window[2]):
            row = (y + 0.5 - y0) / (y1 - y0) * rows - 0.5
            column = (x + 0.5 - x0) / (x1 - x0) * columns - 0.5
            image[y, x] = slow_sample(grid.values, row, column)
    return image


def reaches(values, recipe, conventions):
    if conventions.foreground_at_equal:
        return values >= recipe.mask_threshold
    return values > recipe.mask_threshold


def slow_store(mean, recipe, conventions, grid_size):
    """The mean as its tight box holds it with grid_size samples a side, enlarged again."""
    rows, columns = np.nonzero(reaches(mean, recipe, conventions))
    if len(rows) == 0:
        return np.zeros_like(mean)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    inner = mean[top:bottom, left:right]
    stored = np.zeros((grid_size, grid_size))
    for i in range(grid_size):
        for j in range(grid_size):
            stored[i, j] = slow_sample(
                inner,
                (i + 0.5) * (bottom - top) / grid_size - 0.5,
                (j + 0.5) * (right - left) / grid_size - 0.5,
            )
    box = (int(left), int(top), int(right), int(bottom))
    return slow_enlarge(Grid(values=stored, extent=box, window=box), mean.shape)


def slow_masks(boxes, probs, grid_at, recipe, conventions, *, size=IMAGE, grid_size=21):
    """(label, score, values over the image whose foreground is the mask) of each detection."""
    found = []
    for roi, label, score in slow_select(boxes, probs, recipe, conventions):
        overlaps = [slow_iou(boxes[roi], b) for b in boxes]
        limit = np.float32(recipe.merge_iou)
        voters = [
            i
            for i, overlap in enumerate(overlaps)
            if overlap > limit or (conventions.merge_at_equal and overlap == limit)
        ]
        total = sum(probs[i, label] for i in voters)
        mean = np.zeros(size)
        for i in voters:
            category = label
            if conventions.mask_category == "best-any":
                category = int(np.argmax(probs[i]))
            if conventions.mask_category == "best-foreground":
                category = 1 + int(np.argmax(probs[i, 1:]))
            mask = slow_enlarge(grid_at(i, category), size)
            if conventions.vote == "binary":
                mask = reaches(mask, recipe, conventions).astype(float)
            mean += mask * probs[i, label] / total
        if conventions.store_grid:
            mean = slow_store(mean, recipe, conventions, grid_size)
        found.append((label, score, mean))
    return found


# Cases


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
    """The grids of RoIs and categories as a record, padded to a common shape."""
    chosen = [grids[pair] for pair in zip(rois.tolist(), classes.tolist(), strict=True)]
    shapes = torch.tensor([g.values.shape for g in chosen], dtype=torch.int64).reshape(-1, 2)
    rows, columns = shapes.amax(dim=0).tolist() if chosen else (1, 1)
    values = torch.zeros(len(chosen), rows, columns)
    for target, grid in zip(values, chosen, strict=True):
        h, w = grid.values.shape
        target[:h, :w] = torch.as_tensor(grid.values)
    return MaskGrids(
        values=values,
        shapes=shapes,
        extents=torch.tensor([g.extent for g in chosen], dtype=torch.float32).reshape(-1, 4),
        windows=torch.tensor([g.window for g in chosen], dtype=torch.int64).reshape(-1, 4),
    )


@pytest.fixture(autouse=True, params=[False, True], ids=["in turn", "together"])
def together(request, monkeypatch):
    """Count votes in both ways: as on a CPU, and as on every other device."""
    monkeypatch.setitem(globals(), "vote", partial(voting.vote, together=request.param))


def run(boxes, probs, grids, recipe=DETECTION, conventions=RELEASE, *, grid_size=21):
    selection = select(boxes, probs, recipe, conventions)
    rois, classes, grid_of = voting_pairs(selection, probs, conventions)
    found = mask_grids(grids, rois, classes)
    crops = vote(selection, found, grid_of, recipe, conventions, grid_size=grid_size).crops
    return selection, crops


def compare(boxes, probs, grids, recipe, conventions, *, grid_size=21):
    """Check every detection against the slow reference and return how many masks there are."""
    selection, crops = run(boxes, probs, grids, recipe, conventions, grid_size=grid_size)
    expected = slow_masks(
        boxes.double().numpy(),
        probs.double().numpy(),
        lambda roi, category: grids[roi, category],
        recipe,
        conventions,
        grid_size=grid_size,
    )
    assert len(crops) == len(expected)
    assert selection.labels.tolist() == [label for label, _, _ in expected]
    assert selection.scores.tolist() == pytest.approx([score for _, score, _ in expected])
    for crop, (_, _, values) in zip(crops, expected, strict=True):
        sure = np.abs(values - recipe.mask_threshold) > UNSURE
        assert sure.mean() > 0.95
        at_equal = conventions.foreground_at_equal
        if conventions.store_grid:
            at_equal = at_equal and conventions.stored_at_equal
        mask = reaches(values, recipe, replace(conventions, foreground_at_equal=at_equal))
        assert (paste(crop) == mask)[sure].all()
        if crop is not None:
            assert crop.bits[[0, -1]].any(axis=1).all()
            assert crop.bits[:, [0, -1]].any(axis=0).all()
    return sum(crop is not None for crop in crops)


SETTINGS = {
    "release": RELEASE,
    "paper": PAPER,
    "port": CHAINERCV,
    "scratch": replace(RELEASE, vote="probability", store_grid=False),
    "paper but stored": replace(PAPER, store_grid=True),
    "release but best category": replace(RELEASE, assignment="best-category"),
    "release but voted": replace(RELEASE, mask_category="voted", foreground_at_equal=False),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_cases(name, seed):
    conventions = SETTINGS[name]
    case = random_case(seed, native=conventions.sampling == "native")
    recipe = replace(DETECTION, min_score=0.05, max_detections=24)
    assert compare(*case, recipe, conventions) > 5


@pytest.mark.parametrize("native", [False, True])
def test_other_numbers(native):
    case = random_case(7, native=native)
    recipe = DetectionRecipe(
        nms=0.6, merge_iou=0.2, mask_threshold=0.5, max_detections=9, min_score=0.1
    )
    assert compare(*case, recipe, RELEASE, grid_size=5) > 2
    assert compare(*case, recipe, DIRECT) > 2


@pytest.mark.parametrize("conventions", [RELEASE, PAPER], ids=["release", "paper"])
@pytest.mark.parametrize("bound", [1, 700, 5000])
def test_chunks_change_nothing(monkeypatch, conventions, bound):
    native = conventions.sampling == "native"
    case = random_case(3, count=40, native=native)
    recipe = replace(DETECTION, min_score=0.02)
    _, whole = run(*case, recipe, conventions)
    monkeypatch.setattr(counting, "_CHUNK", bound)
    monkeypatch.setattr(counting, "_CACHED", bound)
    _, parts = run(*case, recipe, conventions)
    assert len(whole) == len(parts) > 10
    for a, b in zip(whole, parts, strict=True):
        assert (paste(a) == paste(b)).all()


# Pixels


def test_whole_pixels():
    found = whole_pixels(
        boxes_of(
            (0, 0, 10, 10),
            (0.4, 0.6, 9.4, 9.6),  # last pixels 8.4 and 8.6
            (0.5, 1.5, 9.5, 10.5),  # halves to even: 0 and 2; last pixels 8.5 and 9.5: 8 and 10
            (3.2, 3.2, 3.3, 3.3),  # less than a pixel
            (3.5, 3.5, 4.4, 4.4),  # last pixel 3.4 before the first: 4
        )
    )
    assert found.tolist() == [
        [0, 0, 10, 10],
        [0, 1, 9, 10],
        [0, 2, 9, 11],
        [3, 3, 4, 4],
        [4, 4, 5, 5],
    ]
    assert whole_pixels(boxes_of()).shape == (0, 4)


def test_whole_pixels_by_edges():
    found = whole_pixels(
        boxes_of(
            (0.4, 0.6, 9.4, 9.6),
            (0.5, 1.5, 9.5, 10.5),  # halves to even: 0, 2, 10 and 10
            (3.2, 3.2, 3.3, 3.3),  # nothing left
            (3.5, 3.5, 4.4, 4.6),
        ),
        by_edges=True,
    )
    assert found.tolist() == [[0, 1, 9, 10], [0, 2, 10, 10], [3, 3, 3, 3], [4, 4, 4, 5]]
    assert whole_pixels(boxes_of(), by_edges=True).shape == (0, 4)


@pytest.mark.parametrize("conventions", [RELEASE, DIRECT], ids=["stored", "direct"])
def test_voters_without_a_pixel(conventions):
    # the first RoI has no pixel and votes for none; with the second one its weight counts
    empty, full = (3, 3, 3, 3), (2, 2, 6, 6)
    ones = np.ones((4, 4), dtype=np.float32)
    grids = {(0, 1): Grid(ones, empty, empty), (1, 1): Grid(ones, full, full)}
    box = (2, 2, 6, 6)
    alone = run(boxes_of(box), probabilities((0.1, 0.9)), grids, conventions=conventions)
    assert alone[1] == [None]
    for score, found in ((0.5, True), (0.9, False)):
        probs = probabilities((1 - score, score), (0.6, 0.4))
        _, (crop,) = run(boxes_of(box, box), probs, grids, conventions=conventions)
        # of the weight the second one has 0.4 / 0.9 or 0.4 / 1.3
        assert (crop is not None and crop.bits.shape == (4, 4)) == found


# Selection by hand


def probabilities(*rows):
    return torch.tensor(rows, dtype=torch.float32)


TWO = boxes_of((0, 0, 10, 10), (0, 0, 10, 5))


def test_one_roi_may_be_several_categories():
    probs = probabilities((0.1, 0.5, 0.4), (0.2, 0.2, 0.6))
    far = boxes_of((0, 0, 10, 10), (20, 0, 30, 10))
    each = select(far, probs, DETECTION, RELEASE)
    assert each.scores.tolist() == pytest.approx([0.6, 0.5, 0.4, 0.2])
    assert each.labels.tolist() == [2, 1, 2, 1]
    assert each.rois.tolist() == [1, 0, 0, 1]
    best = select(far, probs, DETECTION, replace(RELEASE, assignment="best-category"))
    assert best.rois.tolist() == [1, 0]
    assert best.labels.tolist() == [2, 1]


def test_suppression_is_within_a_category_or_over_all():
    probs = probabilities((0.1, 0.7, 0.2), (0.2, 0.3, 0.5))
    each = select(TWO, probs, DETECTION, RELEASE)
    assert list(zip(each.rois.tolist(), each.labels.tolist(), strict=True)) == [(0, 1), (1, 2)]
    best = select(TWO, probs, DETECTION, replace(RELEASE, assignment="best-category"))
    assert list(zip(best.rois.tolist(), best.labels.tolist(), strict=True)) == [(0, 1)]


def test_suppression_at_equal():
    recipe = replace(DETECTION, nms=0.5)
    probs = probabilities((0.2, 0.8), (0.4, 0.6))
    for assignment in ("each-category", "best-category"):
        kept = replace(RELEASE, assignment=assignment)
        assert len(select(TWO, probs, recipe, kept).rois) == 2
        at_equal = replace(kept, nms_at_equal=True)
        assert len(select(TWO, probs, recipe, at_equal).rois) == 1


def test_merging_at_equal():
    probs = probabilities((0.2, 0.8), (0.4, 0.6))
    both = select(TWO, probs, DETECTION, RELEASE)
    assert both.voters.tolist() == [0, 1]
    torch.testing.assert_close(both.weights, torch.tensor([0.8, 0.6]) / 1.4)
    alone = select(TWO, probs, DETECTION, replace(RELEASE, merge_at_equal=False))
    assert alone.voters.tolist() == [0]
    assert alone.weights.tolist() == [1]


def test_all_rois_vote_however_low_their_score():
    probs = probabilities((0.2, 0.8), (0.9999, 0.0001))
    selection = select(TWO, probs, DETECTION, RELEASE)
    assert selection.rois.tolist() == [0]
    assert selection.voters.tolist() == [0, 1]
    torch.testing.assert_close(selection.weights, probs[:, 1] / probs[:, 1].sum())


def test_weights_are_those_of_the_category_under_vote():
    probs = probabilities((0.1, 0.6, 0.3), (0.1, 0.2, 0.7))
    selection = select(TWO, probs, replace(DETECTION, nms=0.9), RELEASE)
    assert selection.labels.tolist() == [2, 1, 2, 1]
    for detection, label in enumerate(selection.labels.tolist()):
        mine = selection.voter_of == detection
        assert selection.voters[mine].tolist() == [0, 1]
        torch.testing.assert_close(selection.weights[mine], probs[:, label] / probs[:, label].sum())


def test_limits():
    row = boxes_of(*((20 * i, 0, 20 * i + 10, 10) for i in range(5)))
    probs = probabilities(*((1 - s, s) for s in (0.3, 0.9, 0.0009, 0.001, 0.5)))
    assert select(row, probs, DETECTION, RELEASE).rois.tolist() == [1, 4, 0, 3]
    three = replace(DETECTION, max_detections=3)
    assert select(row, probs, three, RELEASE).rois.tolist() == [1, 4, 0]
    half = replace(DETECTION, min_score=0.5)
    assert select(row, probs, half, RELEASE).rois.tolist() == [1, 4]


@pytest.mark.parametrize("name", SETTINGS)
def test_nothing_to_select(name):
    conventions = SETTINGS[name]
    for boxes, probs in (
        (boxes_of(), torch.zeros(0, 4)),
        (TWO, probabilities((1, 0, 0, 0), (1, 0, 0, 0))),
    ):
        selection, crops = run(boxes, probs, {}, DETECTION, conventions)
        assert crops == []
        assert selection.rois.shape == selection.voters.shape == (0,)
        assert selection.rois.dtype == selection.labels.dtype == torch.int64


# Whose mask


def test_mask_category():
    probs = probabilities((0.1, 0.3, 0.6), (0.5, 0.4, 0.1))
    selection = select(TWO, probs, DETECTION, RELEASE)
    # detections: RoI 0 as 2, RoI 1 as 1; both RoIs vote on both
    assert selection.labels.tolist() == [2, 1]
    for category, expected in {
        "best-foreground": {(0, 2), (1, 1)},
        "best-any": {(0, 2), (1, 0)},
        "voted": {(0, 1), (0, 2), (1, 1), (1, 2)},
    }.items():
        conventions = replace(RELEASE, mask_category=category)
        rois, classes, grid_of = voting_pairs(selection, probs, conventions)
        pairs = list(zip(rois.tolist(), classes.tolist(), strict=True))
        assert set(pairs) == expected
        assert len(pairs) == len(expected)
        # each vote uses a grid of its own voter
        assert torch.equal(rois[grid_of], selection.voters)
        if category == "voted":
            assert torch.equal(classes[grid_of], selection.labels[selection.voter_of])


def test_mask_category_changes_the_mask():
    probs = probabilities((0.5, 0.1, 0.4))
    box = boxes_of((0, 0, 8, 8))
    shares = {0: 2, 1: 4, 2: 6}  # columns of foreground by category
    grids = {}
    for category, columns in shares.items():
        values = np.zeros((8, 8), dtype=np.float32)
        values[:, :columns] = 1
        grids[0, category] = Grid(values=values, extent=(0, 0, 8, 8), window=(0, 0, 8, 8))
    expected = {"best-foreground": [6, 6], "best-any": [2, 2], "voted": [6, 4]}
    for category, widths in expected.items():
        conventions = replace(DIRECT, mask_category=category)
        selection, crops = run(box, probs, grids, DETECTION, conventions)
        assert selection.labels.tolist() == [2, 1]
        assert [crop.bits.shape[1] for crop in crops] == widths


# How votes become a mask


def two_voters(first, second, scores):
    """Two RoIs with the same box of 4 x 4 px and constant masks."""
    window = (0, 0, 4, 4)
    grids = {
        (i, 1): Grid(values=np.full((4, 4), v, dtype=np.float32), extent=window, window=window)
        for i, v in enumerate((first, second))
    }
    probs = probabilities(*((1 - s, s) for s in scores))
    return boxes_of(window, window), probs, grids


def test_binary_votes_or_probabilities():
    # mean probability 0.5 * 0.45 + 0.5 * 0.1 = 0.275; of the binary masks it is 0.5
    case = two_voters(0.45, 0.1, (0.6, 0.6))
    assert run(*case)[1][0].bits.all()
    assert run(*case, conventions=replace(RELEASE, vote="probability"))[1] == [None]
    # 0.9 * 0.3 + 0.1 * 1.0 = 0.37 and 0.1: neither; 0.6 * 0.3 + 0.4 * 1 = 0.58 and 0.4
    case = two_voters(0.3, 1.0, (0.9, 0.1))
    assert run(*case)[1] == [None]
    case = two_voters(0.3, 1.0, (0.9, 0.3))
    assert run(*case)[1] == [None]
    assert run(*case, conventions=replace(RELEASE, vote="probability"))[1][0].bits.all()


def test_foreground_at_exactly_the_threshold():
    recipe = replace(DETECTION, mask_threshold=0.5)
    for conventions in (DIRECT, RELEASE, replace(DIRECT, vote="probability")):
        case = two_voters(0.5, 0.5, (0.6, 0.3))
        assert run(*case, recipe, conventions)[1][0].bits.all()
        above = replace(conventions, foreground_at_equal=False)
        assert run(*case, recipe, above)[1] == [None]


def test_stored_mask_at_exactly_the_threshold():
    # the binary votes of the second RoI are half of the weight: the voted mask is 0.5 everywhere
    recipe = replace(DETECTION, mask_threshold=0.5)
    above = replace(RELEASE, stored_at_equal=False)
    case = two_voters(0.0, 1.0, (0.6, 0.6))
    assert run(*case, recipe)[1][0].bits.all()
    assert run(*case, recipe, above)[1] == [None]
    # what is not stored is not enlarged again
    direct = replace(above, store_grid=False)
    assert run(*case, recipe, direct)[1][0].bits.all()


def test_stored_grid():
    # a comb of single pixels survives at full resolution, not through 5 x 5 samples
    values = np.zeros((20, 20), dtype=np.float32)
    values[:, ::2] = 1
    values[:, -1] = 1
    box = (4, 6, 24, 26)
    grids = {(0, 1): Grid(values=values, extent=box, window=box)}
    case = boxes_of(box), probabilities((0.1, 0.9)), grids
    (direct,) = run(*case, conventions=DIRECT)[1]
    assert (direct.top, direct.left) == (6, 4)
    assert (direct.bits == (values > 0.4)).all()
    (stored,) = run(*case, grid_size=5)[1]
    assert not (paste(stored) == paste(direct)).all()
    # one sample a pixel holds everything
    (fine,) = run(*case, grid_size=20)[1]
    assert (paste(fine) == paste(direct)).all()


def test_stored_box_is_tight():
    # foreground in a quarter of the box: the samples go there
    values = np.zeros((20, 20), dtype=np.float32)
    values[2:9, 11:19] = 1
    box = (0, 0, 20, 20)
    case = boxes_of(box), probabilities((0.1, 0.9)), {(0, 1): Grid(values, box, box)}
    (crop,) = run(*case, grid_size=3)[1]
    assert (crop.top, crop.left, crop.bits.shape) == (2, 11, (7, 8))
    assert crop.bits.all()


@pytest.mark.parametrize("conventions", [RELEASE, DIRECT], ids=["stored", "direct"])
def test_single_pixel(conventions):
    window = (43, 35, 44, 36)
    grids = {(0, 1): Grid(np.ones((21, 21), dtype=np.float32), window, window)}
    (crop,) = run(boxes_of(window), probabilities((0.1, 0.9)), grids, conventions=conventions)[1]
    assert (crop.top, crop.left, crop.bits.tolist()) == (35, 43, [[True]])


def test_order_of_the_rois_does_not_matter():
    boxes, probs, grids = random_case(5)
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(0))
    shuffled = {(i, c): grids[int(j), c] for i, j in enumerate(order) for c in range(4)}
    one, crops = run(boxes, probs, grids)
    two, others = run(boxes[order], probs[order], shuffled)
    assert torch.equal(one.labels, two.labels)
    assert torch.equal(one.rois, order[two.rois])
    assert all((paste(a) == paste(b)).all() for a, b in zip(crops, others, strict=True))


# Golden files


def golden_case(file):
    boxes = torch.from_numpy(np.ascontiguousarray(file["bbox"][:, [1, 0, 3, 2]]))
    windows = whole_pixels(boxes, by_edges=CHAINERCV.box_rounding == "edge").tolist()
    probs = torch.from_numpy(file["cls_prob"])
    grids = {}
    for i, (values, window) in enumerate(zip(file["seg_prob"], windows, strict=True)):
        for category in range(probs.shape[1]):
            grids[i, category] = Grid(values=values, extent=tuple(window), window=tuple(window))
    return boxes, probs, grids


@pytest.mark.parametrize(
    "name",
    ["eval_81_cv2", "eval_small_cv2", "limit5", "noise", "nothing", "visualize"],
)
def test_golden_voting(shared, name):
    with np.load(shared / "golden" / "unit" / f"unit_vote_{name}.npz") as arrays:
        file = {key: arrays[key] for key in arrays.files}
    recipe = DetectionRecipe(
        nms=float(file["nms_thresh"]),
        merge_iou=float(file["mask_merge_thresh"]),
        mask_threshold=float(file["binary_thresh"]),
        max_detections=int(file["limit"]),
        min_score=float(file["score_thresh"]),
    )
    selection, crops = run(*golden_case(file), recipe, CHAINERCV)
    found = [i for i in range(len(crops)) if crops[i] is not None]
    golden = list(zip(file["out_label"].tolist(), file["out_score"].tolist(), strict=True))
    ours = list(zip((selection.labels - 1).tolist(), selection.scores.tolist(), strict=True))
    by_label_and_score = sorted(range(len(golden)), key=lambda i: (-golden[i][1], golden[i][0]))
    found.sort(key=lambda i: (-ours[i][1], ours[i][0]))
    # the same detections, scores to the last bit
    assert [golden[i] for i in by_label_and_score] == [ours[i] for i in found]
    size = tuple(file["size"].tolist())
    for theirs, i in zip(by_label_and_score, found, strict=True):
        differs = paste(crops[i], size) != file["out_masks"][theirs]
        # what the port stores of the mask, enlarged again: the value of each pixel
        y0, x0, y1, x1 = (int(n) for n in file["out_bbox"][theirs])
        values = file["out_seg_prob"][theirs].astype(float)
        stored = slow_enlarge(Grid(values, (x0, y0, x1, y1), (x0, y0, x1, y1)), size)
        # seen: one pixel in one of 100 masks of eval_81, 1.2e-8 above; none elsewhere
        assert (np.abs(stored - recipe.mask_threshold)[differs] <= 1e-5).all()
        assert differs.sum() <= 1


def test_golden_mask_aggregation(shared):
    with np.load(shared / "golden" / "unit" / "unit_mask_aggregation.npz") as arrays:
        file = {key: arrays[key] for key in arrays.files}
    windows = torch.from_numpy(file["bbox"][:, [1, 0, 3, 2]]).round().long()
    grids = MaskGrids(
        values=torch.from_numpy(file["seg_prob"]),
        shapes=torch.full((3, 2), 21),
        extents=windows.float(),
        windows=windows,
    )
    selection = voting.Selection(
        rois=torch.tensor([0]),
        labels=torch.tensor([1]),
        scores=torch.tensor([0.9]),
        voter_of=torch.zeros(3, dtype=torch.int64),
        voters=torch.arange(3),
        weights=torch.from_numpy(file["weight"]),
    )
    ballot = counting.Ballot(
        selection=selection,
        grids=grids,
        grid_of=torch.arange(3),
        windows=torch.tensor([[0, 0, 70, 50]]),
        recipe=replace(DETECTION, mask_threshold=float(file["binary_thresh"])),
        conventions=RELEASE,
    )
    mean = counting._mean_of_votes(ballot, torch.tensor([0]), (50, 70))[0].numpy()
    top, left, bottom, right = file["cv2_bbox"][0].astype(int)
    np.testing.assert_allclose(mean[top:bottom, left:right], file["cv2_mask"][0], atol=1e-6)
    rows, columns = np.nonzero(mean >= 0.4)
    tight = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    assert tight == (top, left, bottom, right)
    sure = replace(DETECTION, mask_score=True)
    voted = vote(selection, grids, torch.arange(3), sure, DIRECT, grid_size=21)
    inside = file["cv2_mask"][0] >= 0.4
    assert (voted.crops[0].bits == inside).all()
    assert voted.certainty == pytest.approx(file["cv2_mask"][0][inside].mean(), abs=1e-6)
