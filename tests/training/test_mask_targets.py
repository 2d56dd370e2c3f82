import numpy as np
import pytest
import torch

from fcis.ops.roi_sampling import AssemblyRule, RoIs, mask_extents, native_cells
from fcis.recipe.conventions import CHAINERCV, RELEASE, with_conventions
from fcis.recipe.types import BackboneRecipe, DetectionRecipe, ModelRecipe
from fcis.structures import RoIMasks
from fcis.training.batch import ObjectMask
from fcis.training.mask_targets import mask_targets

ALIGN = {**RELEASE, "sampling": "align"}
NATIVE = {**RELEASE, "sampling": "native"}


def recipe_of(conventions, stride=16, threshold=0.4):
    recipe = ModelRecipe(
        backbone=BackboneRecipe(stride=stride), detection=DetectionRecipe(mask_threshold=threshold)
    )
    return with_conventions(recipe, conventions)


def targets(boxes, objects, conventions, *, object_boxes=None, size=21, stride=16, threshold=0.4):
    """The targets of RoIs on one large image, and each RoI's (rows, columns)."""
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    rule = AssemblyRule(stride=stride, sampling=conventions["sampling"], out_size=size)
    rois = RoIs(
        boxes=boxes,
        image_index=torch.zeros(len(boxes), dtype=torch.int64),
        cells=torch.tensor([[40, 60]]),
    )
    shapes = torch.full((len(boxes), 2), size)
    if conventions["sampling"] == "native":
        shapes = native_cells(rois, rule, 7).shapes
    masks = RoIMasks(
        values=torch.zeros(int(shapes.prod(dim=1).sum()), 2),
        shapes=shapes,
        extents=mask_extents(rois, rule),
    )
    if object_boxes is None:
        object_boxes = [
            [m.left, m.top, m.left + m.values.shape[1], m.top + m.values.shape[0]] for m in objects
        ]
    found = mask_targets(
        masks,
        boxes,
        objects,
        torch.as_tensor(object_boxes, dtype=torch.float32).reshape(-1, 4),
        recipe_of(conventions, stride, threshold),
    )
    parts = found.split(shapes.prod(dim=1).tolist())
    return [part.reshape(*shape) for part, shape in zip(parts, shapes.tolist(), strict=True)]


def object_of(values, top=0, left=0):
    return ObjectMask(
        top=top, left=left, values=torch.from_numpy(np.array(values, dtype=np.float32))
    )


def slow_resize(image, rows, columns):
    """Bilinear between pixel centres with repeated edges, one sample after the other."""
    result = np.zeros((rows, columns))
    height, width = image.shape
    for row in range(rows):
        for column in range(columns):
            y = np.clip((row + 0.5) * height / rows - 0.5, 0, height - 1)
            x = np.clip((column + 0.5) * width / columns - 0.5, 0, width - 1)
            j, i = int(y), int(x)
            below, right = min(j + 1, height - 1), min(i + 1, width - 1)
            upper = image[j, i] * (1 - (x - i)) + image[j, right] * (x - i)
            lower = image[below, i] * (1 - (x - i)) + image[below, right] * (x - i)
            result[row, column] = upper * (1 - (y - j)) + lower * (y - j)
    return result


def slow_release_rule(roi, box, mask, size=21):
    """Reference 6.3 on a full-size mask; boxes count the last covered pixel, as there."""
    roi = np.round(np.array(roi) - [0, 0, 1, 1]).astype(int)
    box = np.round(np.array(box) - [0, 0, 1, 1]).astype(int)
    x0, y0 = np.maximum(roi[:2], box[:2])
    x1, y1 = np.minimum(roi[2:], box[2:])
    canvas = np.zeros((roi[3] - roi[1] + 1, roi[2] - roi[0] + 1))
    if x0 <= x1 and y0 <= y1:
        cut = mask[y0 : y1 + 1, x0 : x1 + 1]
        canvas[y0 - roi[1] : y1 - roi[1] + 1, x0 - roi[0] : x1 - roi[0] + 1] = cut
    return slow_resize(canvas, size, size)


def test_the_release_rule_against_a_plain_one():
    rng = np.random.default_rng(1)
    mask = np.zeros((120, 160))
    mask[30:90, 40:120] = rng.random((60, 80)) ** 0.5  # rough, to hit all kinds of edges
    crop = object_of(mask[30:90, 40:120], top=30, left=40)
    rois, boxes = [], []
    for _ in range(60):
        corner = rng.uniform((20, 10), (100, 70))
        rois.append([*corner, *(corner + rng.uniform(1, 60, 2))])
        # object boxes that leave out some of the mask's fringe
        boxes.append([40 + rng.uniform(0, 3), 31.2, 118.7, 90 - rng.uniform(0, 3)])
    found = targets(rois, [crop] * 60, RELEASE, object_boxes=boxes)
    differing = 0
    for part, roi, box in zip(found, rois, boxes, strict=True):
        share = slow_release_rule(roi, box, mask)
        clear = np.abs(share - 0.4) > 1e-5
        assert ((share >= 0.4) == part.numpy())[clear].all()
        differing += int(part.sum())
    assert 0 < differing < 60 * 441


def test_the_release_rule_knows_no_mask_outside_the_object_box():
    wide = object_of(np.ones((20, 20)))
    (part,) = targets([[0, 0, 20, 20]], [wide], RELEASE, object_boxes=[[0, 0, 10, 20]], size=10)
    assert part.tolist() == [[1.0] * 5 + [0.0] * 5] * 10


@pytest.mark.parametrize("conventions", [RELEASE, ALIGN, NATIVE])
def test_a_full_object_is_all_inside_and_a_far_one_all_outside(conventions):
    full = object_of(np.ones((200, 300)))
    far = object_of(np.ones((5, 5)), top=300, left=300)
    roi = [13.4, 20.2, 150.7, 110.9]
    inside, outside = targets([roi, roi], [full, far], conventions)
    assert inside.min() == 1
    assert outside.max() == 0


@pytest.mark.parametrize(("conventions", "size"), [(RELEASE, 20), (ALIGN, 20), (NATIVE, 20)])
def test_half_an_object_is_half_inside(conventions, size):
    left_half = object_of(np.ones((320, 160)))
    (part,) = targets([[0, 0, 320, 320]], [left_half], conventions, size=size)
    assert part.shape == (20, 20)
    assert (part[:, :10] == 1).all() and (part[:, 10:] == 0).all()


def test_align_reads_the_mask_at_each_sample():
    """Sample i of a RoI of 8 px lies 2 i + 1 px from its side; the mask is a ramp."""
    ramp = object_of(np.tile(np.arange(10) / 10, (10, 1)), left=5)
    for threshold, expected in ((0.05, [1, 1, 1, 1]), (0.3, [0, 1, 1, 1]), (0.6, [0, 0, 0, 1])):
        (part,) = targets([[6, 1, 14, 9]], [ramp], ALIGN, size=4, threshold=threshold)
        # the mask's value x px right of its side is (x - 0.5) / 10, samples are at 2, 4, 6, 8 px
        assert part[0].tolist() == expected, threshold


def test_align_does_not_repeat_the_edge_of_the_mask():
    small = object_of(np.ones((10, 10)), top=10, left=10)
    (part,) = targets([[0, 0, 30, 30]], [small], ALIGN, size=15)
    assert part.sum() == 25 and (part[5:10, 5:10] == 1).all()


@pytest.mark.parametrize(("threshold", "expected"), [(0.2, 1), (0.3, 0)])
def test_native_takes_the_covered_share_of_each_cell(threshold, expected):
    quarter = object_of(np.ones((8, 8)), top=16, left=16)  # a quarter of cell (1, 1)
    (part,) = targets([[2, 2, 45, 30]], [quarter], NATIVE, threshold=threshold)
    assert part.shape == (2, 3)
    assert part.tolist() == [[0, 0, 0], [0, expected, 0]]


def test_native_rois_of_several_shapes_lie_behind_one_another():
    whole = object_of(np.ones((64, 64)))
    corner = object_of(np.ones((16, 16)), top=32, left=48)
    parts = targets(
        [[0, 0, 16, 16], [0, 16, 64, 64], [40, 0, 64, 40]], [whole, corner, corner], NATIVE
    )
    assert [p.shape for p in parts] == [(1, 1), (3, 4), (3, 2)]
    assert parts[0].tolist() == [[1]]
    assert parts[1].nonzero().tolist() == [[1, 3]]
    assert parts[2].nonzero().tolist() == [[2, 1]]


def test_many_large_objects_are_taken_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    objects = [object_of(rng.random((30, 40)), top=i, left=2 * i) for i in range(12)]
    boxes = [[i, i, i + 35, i + 25] for i in range(12)]
    at_once = targets(boxes, objects, ALIGN)
    monkeypatch.setattr("fcis.training.mask_targets._CHUNK", 3000)
    for a, b in zip(at_once, targets(boxes, objects, ALIGN), strict=True):
        assert torch.equal(a, b)


def test_no_roi_has_no_samples():
    nothing = RoIMasks(
        values=torch.zeros(0, 2),
        shapes=torch.zeros(0, 2, dtype=torch.int64),
        extents=torch.zeros(0, 4),
    )
    empty = torch.zeros(0, 4)
    found = mask_targets(nothing, empty, [], empty, recipe_of(RELEASE))
    assert found.shape == (0,)


def test_an_object_box_beside_its_mask_leaves_nothing():
    beside = object_of(np.ones((10, 10)))
    (part,) = targets([[0, 0, 9, 9]], [beside], RELEASE, object_boxes=[[50, 50, 60, 60]])
    assert part.sum() == 0


@pytest.mark.parametrize("key", [f"cv2_seed{s}_n{n}" for s in (0, 1) for n in (32, 128)])
def test_mask_targets_of_chainercv(shared, key):
    with np.load(shared / "golden" / "unit" / "unit_proposal_target.npz") as golden:
        masks, gt_boxes = golden["mask"], golden["bbox"][:, [1, 0, 3, 2]]
        rois = golden[f"{key}_sample_roi"][:, [1, 0, 3, 2]]
        labels, wanted = golden[f"{key}_gt_roi_label"], golden[f"{key}_gt_roi_mask"]
    positive = labels > 0
    assert positive.sum() >= 8
    overlaps = np.array([[_iou(roi, box) for box in gt_boxes] for roi in rois[positive]])
    nearest = overlaps.argmax(axis=1)
    objects = [object_of(masks[n]) for n in nearest]
    found = targets(rois[positive], objects, CHAINERCV, object_boxes=gt_boxes[nearest])
    assert np.array_equal(np.stack([part.numpy() for part in found]), wanted[positive])


def _iou(a, b):
    width, height = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - width * height
    return width * height / union
