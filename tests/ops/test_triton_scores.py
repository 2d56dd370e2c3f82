"""Kernels of scores and deltas, interpreted or on a GPU, against the definition."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fcis.ops import assembly, definition
from fcis.ops.roi_sampling import AssemblyRule, RoIs

from .conftest import Kernels

RULES = [
    AssemblyRule(stride=16, sampling="pool", out_size=4),
    AssemblyRule(stride=16, sampling="pool", round_boxes=False, out_size=3),
    AssemblyRule(stride=16, sampling="align", out_size=4),
    AssemblyRule(stride=16, sampling="native"),
]
all_rules = pytest.mark.parametrize("rule", RULES, ids=["pool", "port", "align", "native"])
# where the interpreter would take long, and rounds otherwise than a GPU
on_a_gpu = pytest.mark.parametrize(
    "kernels", [pytest.param("gpu", marks=pytest.mark.gpu)], indirect=True
)
CELLS = torch.tensor([[3, 4], [3, 3]])
BOXES = torch.tensor(
    [
        [2.5, 3, 50, 40],
        [10.3, -5.2, 61, 200],
        [-30, -40, -5, -6],  # outside on either end
        [300, 300, 400, 400],
        [20, 20, 10, 12],  # inverted
        [float("nan"), 3, 1e9, 8],
    ]
)


def example(
    k: int = 2, num_classes: int = 3, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, RoIs]:
    """Return score maps and box maps of two images, and RoIs in turn on both."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((2, 3, 4, k * k, 2, num_classes), generator=generator).to(dtype)
    box_maps = torch.randn((2, 3, 4, k * k, 4), generator=generator).to(dtype)
    maps[0, 0, 0] = 0  # ties: the outside score gets the gradient
    maps[1, :, 3], box_maps[1, :, 3] = float("nan"), 1e4  # must not be looked at
    rois = RoIs(boxes=BOXES, image_index=torch.arange(len(BOXES)) % 2, cells=CELLS)
    return maps, box_maps, rois


def on(device: torch.device, rois: RoIs) -> RoIs:
    return RoIs(
        boxes=rois.boxes.to(device),
        image_index=rois.image_index.to(device),
        cells=rois.cells.to(device),
    )


def gradients_of(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def as_exact(
    found: Tensor, peer: Tensor, exact: Tensor, dtype: torch.dtype = torch.float32
) -> None:
    """Compare with float64: at most twice the error of torch in the same type, or one rounding."""
    errors = [(x.detach().cpu().double() - exact).abs().max().item() for x in (found, peer)]
    assert found.dtype == peer.dtype == dtype
    assert errors[0] <= 2 * max(errors[1], torch.finfo(dtype).eps / 2 * exact.abs().max().item())


@all_rules
@pytest.mark.parametrize(("k", "num_classes"), [(2, 3), (1, 1)])
def test_results_are_as_exact_as_those_of_torch(
    kernels: Kernels, rule: AssemblyRule, k: int, num_classes: int
):
    maps, box_maps, rois = example(k, num_classes)
    there = on(kernels.device, rois)
    for name, x in (("class_scores", maps), ("mean_deltas", box_maps)):
        exact = getattr(definition, name)(x.double(), rois, rule)
        found = getattr(kernels.scores, name)(x.to(kernels.device), there, rule)
        as_exact(found, getattr(assembly, name)(x, rois, rule), exact)


def compare_gradients(kernels: Kernels, rule: AssemblyRule, k: int, num_classes: int) -> None:
    maps, box_maps, rois = example(k, num_classes)
    there = on(kernels.device, rois)
    for name, x in (("class_scores", maps), ("mean_deltas", box_maps)):
        grad = gradients_of((len(rois), x.shape[-1]))
        exact, peer = (
            torch.autograd.grad(getattr(ops, name)(y, rois, rule), y, grad.to(y.dtype))[0]
            for ops, y in (
                (definition, x.double().requires_grad_()),
                (assembly, x.clone().requires_grad_()),
            )
        )
        last = x.to(kernels.device) if name == "class_scores" else x.shape
        backward = getattr(kernels.scores, f"{name}_backward")
        found = backward(grad.to(kernels.device), last, there, rule)
        assert found.shape == x.shape and exact.abs().max() > 0
        as_exact(found, peer, exact)


@all_rules
def test_gradients_are_as_exact_as_those_of_torch(kernels: Kernels, rule: AssemblyRule):
    compare_gradients(kernels, rule, 2, 3)


@on_a_gpu
@all_rules
def test_bfloat16_is_as_exact_as_that_of_torch(kernels: Kernels, rule: AssemblyRule):
    maps, box_maps, rois = example(dtype=torch.bfloat16)
    there = on(kernels.device, rois)
    for name, x in (("class_scores", maps), ("mean_deltas", box_maps)):
        exact_maps, peer_maps = x.double().requires_grad_(), x.clone().requires_grad_()
        exact = getattr(definition, name)(exact_maps, rois, rule)
        peer = getattr(assembly, name)(peer_maps, rois, rule)
        found = getattr(kernels.scores, name)(x.to(kernels.device), there, rule)
        as_exact(found, peer, exact.detach(), torch.bfloat16)
        grad = gradients_of(exact.shape).to(torch.bfloat16)
        (exact,) = torch.autograd.grad(exact, exact_maps, grad.double())
        (peer,) = torch.autograd.grad(peer, peer_maps, grad)
        last = x.to(kernels.device) if name == "class_scores" else x.shape
        backward = getattr(kernels.scores, f"{name}_backward")
        found = backward(grad.to(kernels.device), last, there, rule)
        as_exact(found, peer, exact, torch.bfloat16)


@pytest.mark.slow
@all_rules
def test_gradients_in_a_fixed_order(kernels: Kernels, rule: AssemblyRule, deterministic):
    compare_gradients(kernels, rule, 2, 3)


@pytest.mark.slow
def test_gradients_in_a_fixed_order_of_one_number(kernels: Kernels, deterministic):
    compare_gradients(kernels, RULES[2], 1, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(kernels: Kernels, dtype: torch.dtype, deterministic):
    maps, box_maps, rois = example(dtype=dtype)
    rois = replace(rois, boxes=rois.boxes[:2], image_index=rois.image_index[:2])
    there, rule = on(kernels.device, rois), replace(RULES[2], out_size=2)
    maps, box_maps = maps.to(kernels.device), box_maps.to(kernels.device)
    grad = gradients_of((2, 3)).to(kernels.device, dtype)
    scores = kernels.scores
    pairs = (
        (scores.class_scores(maps, there, rule), scores.class_scores(maps.float(), there, rule)),
        (
            scores.mean_deltas(box_maps, there, rule),
            scores.mean_deltas(box_maps.float(), there, rule),
        ),
        (
            scores.class_scores_backward(grad, maps, there, rule),
            scores.class_scores_backward(grad.float(), maps.float(), there, rule),
        ),
    )
    for found, expected in pairs:
        assert found.dtype == dtype
        # numpy, which interprets, may cut where a GPU rounds
        torch.testing.assert_close(
            found.float(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-7
        )


def test_more_classes_than_a_block_and_maps_that_are_not_contiguous(kernels: Kernels):
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn((2, 3, 4, 9, 2, 131), generator=generator)
    shuffled = maps.permute(3, 4, 5, 0, 1, 2).contiguous().permute(3, 4, 5, 0, 1, 2)
    rois = RoIs(boxes=BOXES[:2], image_index=torch.tensor([1, 0]), cells=CELLS)
    rule = replace(RULES[2], out_size=3)
    there, grad = on(kernels.device, rois), gradients_of((2, 131))
    x = maps.requires_grad_()
    expected = assembly.class_scores(x, rois, rule)
    (gradient,) = torch.autograd.grad(expected, x, grad)
    shuffled = shuffled.to(kernels.device)
    found = kernels.scores.class_scores(shuffled, there, rule)
    back = kernels.scores.class_scores_backward(grad.to(kernels.device), shuffled, there, rule)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(back.cpu(), gradient, rtol=0, atol=1e-6)


def test_what_is_not_a_number_is_seen(kernels: Kernels):
    maps, _, rois = example()
    rois = replace(rois, boxes=BOXES[:1], image_index=torch.tensor([0]))
    maps[0, :, :, :, 0, 0], maps[0, :, :, :, 1, 1] = float("nan"), float("nan")
    found = kernels.scores.class_scores(maps.to(kernels.device), on(kernels.device, rois), RULES[3])
    assert found.isnan().tolist() == [[True, True, False]]


@all_rules
def test_no_rois(kernels: Kernels, rule: AssemblyRule):
    maps, box_maps, rois = example()
    none = replace(rois, boxes=rois.boxes[:0], image_index=rois.image_index[:0])
    there, maps = on(kernels.device, none), maps.to(kernels.device)
    grad = torch.zeros((0, 3), device=kernels.device)
    assert kernels.scores.class_scores(maps, there, rule).shape == (0, 3)
    assert kernels.scores.mean_deltas(box_maps.to(kernels.device), there, rule).shape == (0, 4)
    gradient = kernels.scores.class_scores_backward(grad, maps, there, rule)
    assert gradient.shape == maps.shape and not gradient.any()
    grad = torch.zeros((0, 4), device=kernels.device)
    gradient = kernels.scores.mean_deltas_backward(grad, box_maps.shape, there, rule)
    assert gradient.shape == box_maps.shape and not gradient.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["_sum_kernel", "_scatter_kernel", "_gather_kernel"])
@pytest.mark.parametrize("sides", [1, 2])
def test_kernels_can_be_compiled(compile_kernel, name: str, sides: int):
    import fcis.ops.triton_scores as module

    for maps in ("fp32", "bf16", "fp16"):
        constants = {"SIDES": sides, "GROUPS": 8, "BLOCK": 128}
        compile_kernel(getattr(module, name), maps, constants)
        compile_kernel(getattr(module, name), maps, {**constants, "k": 1, "num_channels": 1})


@pytest.mark.gpu
@all_rules
@pytest.mark.parametrize("fixed", [False, True])
def test_at_the_size_of_use_on_a_gpu(rule: AssemblyRule, fixed: bool):
    """Through the operators, with 81 classes and 300 RoIs; a fixed order gives equal bits."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn((2, 38, 63, 49, 2, 81), generator=generator).cuda().requires_grad_()
    corners = torch.rand((300, 2, 2), generator=generator) * torch.tensor([1000.0, 600.0])
    boxes = torch.cat((corners.amin(dim=1), corners.amax(dim=1)), dim=1)
    rois = RoIs(
        boxes=boxes.cuda(),
        image_index=(torch.arange(300) % 2).cuda(),
        cells=torch.tensor([[38, 63], [30, 50]]).cuda(),
    )
    rule, grad = replace(rule, out_size=21), gradients_of((300, 81)).cuda()
    torch.use_deterministic_algorithms(fixed)
    try:
        scores = [assembly.class_scores(maps, rois, rule) for _ in range(2)]
        found = [torch.autograd.grad(x, maps, grad)[0] for x in scores]
    finally:
        torch.use_deterministic_algorithms(False)
    x = maps.detach().cpu().requires_grad_()
    expected = assembly.class_scores(x, on(torch.device("cpu"), rois), rule)
    (gradient,) = torch.autograd.grad(expected, x, grad.cpu())
    torch.testing.assert_close(scores[0].cpu(), expected, rtol=0, atol=1e-5)
    # where both sides are equal but for rounding, either may get it
    assert ((found[0].cpu() - gradient).abs() > 1e-4).float().mean() < 1e-4
    assert torch.equal(scores[0], scores[1])
    if fixed:
        assert torch.equal(found[0], found[1])
