"""Suppression, voting and pasting against a slow reference and ChainerCV."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.presets import preset

from fcis.model import vote_counting as counting
from fcis.model import voting
from fcis.model.voting import whole_pixels
from fcis.recipe.conventions import PAPER, RELEASE, with_conventions
from fcis.recipe.types import DetectionRecipe
from fcis.structures import MaskGrids, Selection

from .voting_cases import DETECTION, DIRECT, IMAGE, SETTINGS, Grid, paste, random_case, run

# A pixel whose value is that close to the threshold may fall on either side
UNSURE = 1e-4

pytestmark = pytest.mark.usefixtures("both_countings")


# The slow reference, from the words of the specification (5.2, 5.3): loops over categories,
# detections, voters and pixels, in double precision, without windows, chunks or matrices.


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


def slow_select(boxes, probs, recipe):
    """(RoI, label, score) of each detection, best first."""
    n, classes = probs.shape
    found = []
    if recipe.assignment == "best-category":
        best = [1 + int(np.argmax(p[1:])) for p in probs]
        scores = [p[b] for p, b in zip(probs, best, strict=True)]
        candidates = [i for i in range(n) if scores[i] >= recipe.min_score]
        kept = slow_nms(boxes, scores, candidates, recipe.nms, recipe.nms_at_equal)
        found = [(i, best[i], scores[i]) for i in kept]
    else:
        for label in range(1, classes):
            # all RoIs take part; those below the least score are left out afterwards
            kept = slow_nms(boxes, probs[:, label], range(n), recipe.nms, recipe.nms_at_equal)
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


def reaches(values, recipe):
    if recipe.foreground_at_equal:
        return values >= recipe.mask_threshold
    return values > recipe.mask_threshold


def slow_store(mean, recipe, grid_size):
    """The mean as its tight box holds it with grid_size samples a side, enlarged again."""
    rows, columns = np.nonzero(reaches(mean, recipe))
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


def slow_masks(boxes, probs, grid_at, recipe, *, size=IMAGE, grid_size=21):
    """(label, score, values over the image whose foreground is the mask) of each detection."""
    found = []
    for roi, label, score in slow_select(boxes, probs, recipe):
        overlaps = [slow_iou(boxes[roi], b) for b in boxes]
        limit = np.float32(recipe.merge_iou)
        voters = [
            i
            for i, overlap in enumerate(overlaps)
            if overlap > limit or (recipe.merge_at_equal and overlap == limit)
        ]
        total = sum(probs[i, label] for i in voters)
        mean = np.zeros(size)
        for i in voters:
            category = label
            if recipe.mask_category == "best-any":
                category = int(np.argmax(probs[i]))
            if recipe.mask_category == "best-foreground":
                category = 1 + int(np.argmax(probs[i, 1:]))
            mask = slow_enlarge(grid_at(i, category), size)
            if recipe.vote == "binary":
                mask = reaches(mask, recipe).astype(float)
            mean += mask * probs[i, label] / total
        if recipe.store_grid:
            mean = slow_store(mean, recipe, grid_size)
        found.append((label, score, mean))
    return found


def compare(boxes, probs, grids, recipe, conventions, *, grid_size=21):
    """Check every detection against the slow reference and return how many masks there are."""
    recipe = with_conventions(recipe, conventions)
    selection, crops = run(boxes, probs, grids, recipe, conventions, grid_size=grid_size)
    expected = slow_masks(
        boxes.double().numpy(),
        probs.double().numpy(),
        lambda roi, category: grids[roi, category],
        recipe,
        grid_size=grid_size,
    )
    assert len(crops) == len(expected)
    assert selection.labels.tolist() == [label for label, _, _ in expected]
    assert selection.scores.tolist() == pytest.approx([score for _, score, _ in expected])
    for crop, (_, _, values) in zip(crops, expected, strict=True):
        sure = np.abs(values - recipe.mask_threshold) > UNSURE
        assert sure.mean() > 0.95
        at_equal = recipe.foreground_at_equal
        if recipe.store_grid:
            at_equal = at_equal and recipe.stored_at_equal
        mask = reaches(values, replace(recipe, foreground_at_equal=at_equal))
        assert (paste(crop) == mask)[sure].all()
        if crop is not None:
            assert crop.bits[[0, -1]].any(axis=1).all()
            assert crop.bits[:, [0, -1]].any(axis=0).all()
    return sum(crop is not None for crop in crops)


# Random cases


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_cases(name, seed):
    conventions = SETTINGS[name]
    case = random_case(seed, native=conventions["sampling"] == "native")
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
    native = conventions["sampling"] == "native"
    case = random_case(3, count=40, native=native)
    recipe = replace(DETECTION, min_score=0.02)
    _, whole = run(*case, recipe, conventions)
    monkeypatch.setattr(counting, "_CHUNK", bound)
    monkeypatch.setattr(counting, "_CACHED", bound)
    _, parts = run(*case, recipe, conventions)
    assert len(whole) == len(parts) > 10
    for a, b in zip(whole, parts, strict=True):
        assert (paste(a) == paste(b)).all()


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


def golden_case(file, recipe):
    boxes = torch.from_numpy(np.ascontiguousarray(file["bbox"][:, [1, 0, 3, 2]]))
    windows = whole_pixels(boxes, by_edges=recipe.box_rounding == "edge").tolist()
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
    recipe = preset(
        "chainercv",
        f"detection.nms={file['nms_thresh']}",
        f"merge_iou={file['mask_merge_thresh']}",
        f"mask_threshold={file['binary_thresh']}",
        f"max_detections={file['limit']}",
        f"min_score={file['score_thresh']}",
    ).model.detection
    selection, crops = run(*golden_case(file, recipe), recipe, conventions={})
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
    )
    selection = Selection(
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
        windows=windows,
        grid_of=torch.arange(3),
        recipe=replace(DETECTION, mask_threshold=float(file["binary_thresh"])),
    )
    whole = torch.tensor([[0, 0, 70, 50]])
    mean = counting._mean_of_votes(ballot, whole, torch.tensor([0]), (50, 70))[0].numpy()
    top, left, bottom, right = file["cv2_bbox"][0].astype(int)
    np.testing.assert_allclose(mean[top:bottom, left:right], file["cv2_mask"][0], atol=1e-6)
    rows, columns = np.nonzero(mean >= 0.4)
    tight = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    assert tight == (top, left, bottom, right)
    sure = replace(DETECTION, mask_score=True, store_grid=False)
    crops, certainty = voting.vote(selection, grids, windows, torch.arange(3), sure, grid_size=21)
    inside = file["cv2_mask"][0] >= 0.4
    assert (crops[0].bits == inside).all()
    assert certainty == pytest.approx(file["cv2_mask"][0][inside].mean(), abs=1e-6)
