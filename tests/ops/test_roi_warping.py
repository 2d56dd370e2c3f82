"""RoI warping against loops, and its gradients against finite differences."""

import math

import pytest
import torch

from fcis.ops import roi_warping as warping
from fcis.ops.roi_sampling import RoIs
from fcis.ops.roi_warping import bounded_gradient, warp_rois

CELLS = [[6, 9], [5, 7]]
# inside; over three edges; thinner than a cell; inverted; outside
BOXES = [
    [9.5, 12.25, 60.0, 41.5],
    [-20.0, -9.0, 90.0, 30.0],
    [30.2, 17.1, 31.4, 40.3],
    [50.0, 40.0, 20.0, 10.0],
    [200.0, 10.0, 260.0, 60.0],
]
IMAGES = [0, 1, 1, 0, 0]


def setting(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn((2, 3, 6, 9), generator=generator, dtype=dtype)
    rois = RoIs(
        boxes=torch.tensor(BOXES, dtype=dtype),
        image_index=torch.tensor(IMAGES),
        cells=torch.tensor(CELLS),
    )
    return features, rois


def half_away(value):
    return math.floor(abs(value) + 0.5) * math.copysign(1, value)


def by_loops(features, rois, *, size, stride, whole_cells):
    """The definition, sample by sample."""
    result = torch.zeros(len(rois), features.shape[1], size // 2, size // 2).double()
    for n, (box, image) in enumerate(
        zip(rois.boxes.tolist(), rois.image_index.tolist(), strict=True)
    ):
        rows, columns = rois.cells[image].tolist()

        def place(axis, p, box=box):
            first, end = box[axis] / stride, box[axis + 2] / stride
            if not whole_cells:
                return first + (p + 0.5) / size * (end - first) - 0.5
            first, last = half_away(first), half_away((box[axis + 2] - 1) / stride)
            return first + p * (last - first) / size

        def sample(p, q, image=image, rows=rows, columns=columns, place=place):
            y, x = place(1, p), place(0, q)
            if not (-0.5 <= y <= rows - 0.5 and -0.5 <= x <= columns - 0.5):
                return torch.zeros(features.shape[1]).double()
            y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
            found = torch.zeros(features.shape[1]).double()
            for i in range(rows):
                for j in range(columns):
                    weight = max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j))
                    found += weight * features[image, :, i, j]
            return found

        for p in range(0, size, 2):
            for q in range(0, size, 2):
                four = [sample(p + i, q + j) for i in (0, 1) for j in (0, 1)]
                result[n, :, p // 2, q // 2] = torch.stack(four).amax(dim=0)
    return result


@pytest.mark.parametrize("whole_cells", [False, True])
@pytest.mark.parametrize("size", [2, 6])
def test_samples_are_those_of_the_definition(size, whole_cells):
    features, rois = setting()
    found = warp_rois(features, rois, size=size, stride=8, whole_cells=whole_cells)
    expected = by_loops(features, rois, size=size, stride=8, whole_cells=whole_cells)
    torch.testing.assert_close(found, expected)
    assert found[0].abs().min() > 0 and not found[4].any()


def test_one_cell_by_hand():
    """A RoI that is one cell reads between its neighbours: the larger of 2 x 2 quarters."""
    features = torch.arange(9.0).reshape(1, 1, 3, 3)
    rois = RoIs(
        boxes=torch.tensor([[16.0, 16.0, 32.0, 32.0]]),
        image_index=torch.tensor([0]),
        cells=torch.tensor([[3, 3]]),
    )
    # samples a quarter of a cell from the middle one's centre, whose value is 4
    assert warp_rois(features, rois, size=2, stride=16).item() == 4 + 0.25 + 0.75


def test_cells_of_other_images_are_not_read():
    features, rois = setting()
    changed = features.clone()
    changed[1, :, 5:] = torch.nan
    changed[1, :, :, 7:] = torch.nan
    for whole in (False, True):
        found = warp_rois(changed, rois, size=4, stride=8, whole_cells=whole)
        assert torch.equal(found, warp_rois(features, rois, size=4, stride=8, whole_cells=whole))


def test_gradients_by_finite_differences():
    features, rois = setting()
    # away from the kinks: cell centres, edges of the image, equal samples
    boxes = torch.tensor([[9.3, 12.1, 43.7, 41.9], [4.9, 6.3, 37.2, 30.8]]).double()

    def warped(features, boxes):
        own = RoIs(boxes=boxes, image_index=torch.tensor([0, 1]), cells=rois.cells)
        return warp_rois(features, own, size=4, stride=8)

    inputs = (features.requires_grad_(), boxes.requires_grad_())
    assert torch.autograd.gradcheck(warped, inputs, eps=1e-6, atol=1e-7)
    gradient = torch.autograd.grad(warped(*inputs).square().sum(), inputs)
    assert all(g.abs().max() > 0.01 for g in gradient)


def test_rounding_to_cells_passes_the_gradient_on():
    """As if the corners were those of the cells: the derivative of the unrounded formula."""
    features, rois = setting()
    boxes = torch.tensor([[9.3, 12.1, 43.7, 33.9]]).double().requires_grad_()

    def total(boxes, whole_cells):
        own = RoIs(boxes=boxes, image_index=torch.tensor([0]), cells=rois.cells)
        return warp_rois(features, own, size=4, stride=8, whole_cells=whole_cells).sum()

    (through,) = torch.autograd.grad(total(boxes, True), boxes)
    # cells 1, 2 to 5, 4: the same samples without rounding, a hundredth beside the kinks
    step, quarters = 1e-6, torch.arange(4).double() / 4
    for i in range(4):
        ends = []
        for sign in (-1, 1):
            whole = torch.tensor([1.0, 2.0, 5.0, 4.0]).double() + 1e-3
            whole[i] += sign * step / 8
            rows, columns = (
                (whole[a] + quarters * (whole[a + 2] - whole[a]))[None] for a in (1, 0)
            )
            own = RoIs(boxes=boxes[:1], image_index=torch.tensor([0]), cells=rois.cells)
            ends.append(warping._warped(features.permute(0, 2, 3, 1), own, rows, columns).sum())
        slope = (ends[1] - ends[0]).item() / (2 * step)
        assert through[0, i].item() == pytest.approx(slope, abs=0.02)
    assert through.abs().max() > 0.05


def test_chunks_change_nothing(monkeypatch):
    features, rois = setting()
    features.requires_grad_()
    rois.boxes.requires_grad_()

    def run():
        found = warp_rois(features, rois, size=6, stride=8)
        return found, *torch.autograd.grad(found.square().sum(), (features, rois.boxes))

    whole = run()
    monkeypatch.setattr(warping, "_CHUNK", 2 * 6 * 6 * 3)  # two RoIs
    for a, b in zip(whole, run(), strict=True):
        torch.testing.assert_close(a, b)


def test_samples_are_not_kept_for_the_gradient():
    """What autograd holds does not grow with the samples of a RoI, only with its result."""
    features, rois = setting(torch.float32)
    held = []

    def keep(tensor):
        held.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        warp_rois(features.requires_grad_(), rois, size=60, stride=8)
    assert max(held, default=0) <= max(features.numel(), 5 * 60)


def test_no_rois():
    features, rois = setting()
    none = RoIs(
        boxes=rois.boxes[:0].requires_grad_(), image_index=rois.image_index[:0], cells=rois.cells
    )
    assert warp_rois(features, none, size=4, stride=8).shape == (0, 3, 2, 2)


def test_coordinates_that_are_no_numbers():
    features, rois = setting()
    boxes = torch.tensor([[math.nan, 0, 8, 8], [-math.inf, 0, math.inf, 8]]).double()
    bad = RoIs(boxes=boxes, image_index=torch.tensor([0, 0]), cells=rois.cells)
    good = RoIs(boxes=boxes[:1].nan_to_num(), image_index=torch.tensor([0]), cells=rois.cells)
    found = warp_rois(features, bad, size=4, stride=8)
    assert found.isfinite().all()
    assert torch.equal(found[:1], warp_rois(features, good, size=4, stride=8))


def test_half_precision_is_near():
    features, rois = setting(torch.float32)
    found = warp_rois(features.bfloat16(), rois, size=4, stride=8)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found.float(), warp_rois(features, rois, size=4, stride=8), atol=0.03, rtol=0.02
    )


def test_memory_order():
    features, rois = setting()
    found = warp_rois(features, rois, size=4, stride=8)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [0, 1, 7])
def test_odd_sizes(size):
    features, rois = setting()
    with pytest.raises(
        ValueError, match=f"size: expected an even number of at least 2, got {size}"
    ):
        warp_rois(features, rois, size=size, stride=8)


def test_bounded_gradient():
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    passed = bounded_gradient(values, 0.5)
    assert torch.equal(passed, values)
    (gradient,) = torch.autograd.grad((passed * torch.tensor([0.25, 7.0, -9.0])).sum(), values)
    assert gradient.tolist() == [0.25, 0.5, -0.5]
    plain = torch.ones(3)
    assert bounded_gradient(plain, 0.5) is plain
