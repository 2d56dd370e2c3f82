"""What bag-sums add to the tests of `assembly`: chunks of any size, and gradients as adjoints."""

import pytest
import torch
from torch import Tensor

from fcis.ops import cpu, definition
from fcis.ops.roi_sampling import AssemblyRule, RoIs

RULES = [
    AssemblyRule(stride=16, sampling="pool", out_size=6),
    AssemblyRule(stride=16, sampling="align", out_size=6),
    AssemblyRule(stride=16, sampling="native"),
]
all_rules = pytest.mark.parametrize("rule", RULES, ids=["pool", "align", "native"])
SIZE = (2, 5, 6, 4, 2, 3)
CLASSES = torch.tensor([0, 2, 1, 0])
ROIS = RoIs(
    boxes=torch.tensor([[3.0, 5, 40, 44], [-9, 2, 70, 60], [20, 20, 30, 22], [-99, 9, -8, 8]]),
    image_index=torch.tensor([0, 1, 1, 0]),
    cells=torch.tensor([[5, 4], [3, 6]]),
)


@pytest.fixture
def small(monkeypatch):
    """Take RoIs one by one, with wide indices."""

    def shrink():
        monkeypatch.setattr(cpu, "CHUNK_NUMBERS", 1)
        monkeypatch.setattr(cpu, "_index_type", lambda size: torch.int64)

    return shrink


def random(size: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64)


@all_rules
@pytest.mark.parametrize("is_small", [False, True], ids=["whole", "small"])
def test_gradients_of_masks_are_adjoint(rule: AssemblyRule, is_small: bool, small):
    """Masks are linear in the maps: <g, A x> = <A* g, x>."""
    if is_small:
        small()
    maps = random(SIZE)
    values = cpu.class_masks(maps, ROIS, CLASSES, rule)
    grad = random(tuple(values.shape), seed=1)
    back = cpu.class_masks_backward(grad, SIZE, ROIS, CLASSES, rule)
    torch.testing.assert_close((grad * values).sum(), (back * maps).sum())


@all_rules
def test_gradients_of_deltas_are_adjoint(rule: AssemblyRule):
    maps, grad = random((*SIZE[:4], 4)), random((4, 4), seed=1)
    deltas = cpu.mean_deltas(maps, ROIS, rule)
    back = cpu.mean_deltas_backward(grad, maps.shape, ROIS, rule)
    torch.testing.assert_close((grad * deltas).sum(), (back * maps).sum())


@all_rules
@pytest.mark.parametrize("is_small", [False, True], ids=["whole", "small"])
def test_scores_are_what_their_gradient_says(rule: AssemblyRule, is_small: bool, small):
    """Scores double with the maps, so they are the product of their derivative and the maps."""
    if is_small:
        small()
    maps, grad = random(SIZE), random((4, 3), seed=1)
    scores = cpu.class_scores(maps, ROIS, rule)
    back = cpu.class_scores_backward(grad, maps, ROIS, rule)
    torch.testing.assert_close((grad * scores).sum(), (back * maps).sum())


@all_rules
def test_chunks_change_no_bit_of_scores_and_masks(rule: AssemblyRule, small):
    maps = random(SIZE).float()
    scores, masks = cpu.class_scores(maps, ROIS, rule), cpu.class_masks(maps, ROIS, CLASSES, rule)
    small()
    assert torch.equal(cpu.class_scores(maps, ROIS, rule), scores)
    assert torch.equal(cpu.class_masks(maps, ROIS, CLASSES, rule), masks)


def test_index_type_fits_the_maps():
    assert cpu._index_type((2**31 - 1, 1)) == torch.int32
    assert cpu._index_type((2**30, 2)) == torch.int64


@all_rules
@pytest.mark.parametrize("together", [1, 7])
def test_box_shifts_of_many_rois(rule: AssemblyRule, together: int, monkeypatch):
    """RoIs from top to bottom of two tall maps, in any order, against the definition."""
    generator = torch.Generator().manual_seed(5)
    count, (h, w) = 40, (30, 8)
    low = torch.rand((count, 2), generator=generator) * torch.tensor([w * 16.0, h * 16.0])
    sides = 8 + 60 * torch.rand((count, 2), generator=generator)
    rois = RoIs(
        boxes=torch.cat((low, low + sides), dim=1).double(),
        image_index=torch.randint(2, (count,), generator=generator),
        cells=torch.tensor([[h, w], [h - 4, w - 1]]),
    )
    maps, grad = random((2, h, w, 4, 4)), random((count, 4), seed=1)
    monkeypatch.setattr(cpu, "_TOGETHER", together)
    traced = maps.clone().requires_grad_()
    expected = definition.mean_deltas(traced, rois, rule)
    torch.testing.assert_close(cpu.mean_deltas(maps, rois, rule), expected)
    (expected_grad,) = torch.autograd.grad(expected, traced, grad)
    back = cpu.mean_deltas_backward(grad, maps.shape, rois, rule)
    torch.testing.assert_close(back, expected_grad)


def test_errors():
    maps, rule = random(SIZE), RULES[0]
    with pytest.raises(ValueError, match=r"maps: expected k \* k cells, got 3"):
        cpu.class_scores(maps[:, :, :, :3], ROIS, rule)
    with pytest.raises(ValueError, match="classes: expected 0 to 2, got 1 to 3"):
        cpu.class_masks(maps, ROIS, CLASSES + 1, rule)
    with pytest.raises(ValueError, match=r"cells: expected .* to \(4, 6\) of 2 images"):
        cpu.mean_deltas(maps[:, :4, ..., 0].repeat(1, 1, 1, 1, 2), ROIS, rule)
