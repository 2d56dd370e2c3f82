"""The fast forms against the definition, other implementations' numbers and finite differences."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.presets import preset
from torch import Tensor
from torch.autograd import gradcheck

from fcis.model.joint import assembly_rule
from fcis.ops import assembly, cpu, definition
from fcis.ops.assembly import class_masks, class_scores, mean_deltas
from fcis.ops.roi_sampling import AssemblyRule, RoIs

RULES = [
    AssemblyRule(stride=16, sampling="pool"),
    AssemblyRule(stride=16, sampling="pool", round_boxes=False, out_size=6),
    AssemblyRule(stride=16, sampling="align"),
    AssemblyRule(stride=16, sampling="native"),
]
all_rules = pytest.mark.parametrize("rule", RULES, ids=["pool", "port", "align", "native"])
CELLS = torch.tensor([[9, 10], [7, 12]])
BOXES = torch.tensor(
    [
        [0, 0, 48, 48],
        [10.3, 5.2, 150.7, 130.1],
        [-30, -40, -5, -6],  # outside on either end
        [300, 300, 400, 400],
        [50, 50, 50, 50],  # empty, inverted, tiny
        [60, 60, 40, 30],
        [3.5, 4.5, 3.9, 4.6],
        [-20, -20, 500, 500],
        [0, 0, 144, 144],
        [float("nan"), 3, float("inf"), 8],
        [-1e9, -1e9, 1e9, 1e9],
        [17.2, 9.9, 88.1, 141.5],
    ],
    dtype=torch.float32,
)


def example(
    k: int = 3, num_classes: int = 4, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, RoIs]:
    """Return score maps and box maps of two images, and RoIs in turn on both."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((2, 9, 12, k * k, 2, num_classes), generator=generator, dtype=dtype)
    boxes = torch.randn((2, 9, 12, k * k, 4), generator=generator, dtype=dtype)
    index = torch.arange(len(BOXES)) % 2
    return maps, boxes, RoIs(boxes=BOXES, image_index=index, cells=CELLS)


def classes_of(rois: RoIs, num_classes: int) -> Tensor:
    return torch.arange(len(rois)) * 5 % num_classes


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@all_rules
@pytest.mark.parametrize(("k", "num_classes"), [(3, 4), (1, 1), (7, 2)])
def test_equals_the_definition(rule: AssemblyRule, k: int, num_classes: int):
    maps, box_maps, rois = example(k, num_classes)
    close(class_scores(maps, rois, rule), definition.class_scores(maps, rois, rule))
    close(mean_deltas(box_maps, rois, rule), definition.mean_deltas(box_maps, rois, rule))
    classes = classes_of(rois, num_classes)
    found = class_masks(maps, rois, classes, rule)
    expected = definition.class_masks(maps, rois, classes, rule)
    close(found.values, expected.values)
    assert torch.equal(found.shapes, expected.shapes)
    assert torch.equal(found.extents, expected.extents)


@all_rules
def test_gradients_equal_those_of_the_definition(rule: AssemblyRule):
    rule = replace(rule, out_size=7)
    maps, box_maps, rois = example(dtype=torch.float64)
    rois = replace(rois, boxes=rois.boxes.double())
    maps[0, 0, 0, 0] = 0  # ties: the outside score gets the gradient
    maps.requires_grad_()
    box_maps.requires_grad_()
    classes = classes_of(rois, 4)
    gradients = []
    for ops in (assembly, definition):
        outputs = (
            (ops.class_scores(maps, rois, rule), maps),
            (ops.mean_deltas(box_maps, rois, rule), box_maps),
            (ops.class_masks(maps, rois, classes, rule).values, maps),
        )
        gradients.append([torch.autograd.grad(o.sin().sum(), x)[0] for o, x in outputs])
    for found, expected in zip(*gradients, strict=True):
        assert expected.abs().max() > 0
        close(found, expected, 1e-12)


@all_rules
def test_gradients_equal_finite_differences(rule: AssemblyRule):
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn((2, 3, 4, 4, 2, 2), generator=generator, dtype=torch.float64)
    box_maps = torch.randn((2, 3, 4, 4, 4), generator=generator, dtype=torch.float64)
    boxes = torch.tensor(
        [[3.0, 5, 40, 44], [-9, 2, 70, 60], [20, 20, 30, 22], [9, 9, 8, 8]], dtype=torch.float64
    )
    rois = RoIs(
        boxes=boxes, image_index=torch.tensor([0, 1, 1, 0]), cells=torch.tensor([[3, 3], [2, 4]])
    )
    classes = torch.tensor([0, 1, 1, 0])
    maps.requires_grad_()
    box_maps.requires_grad_()
    assert gradcheck(lambda x: class_scores(x, rois, rule), maps, fast_mode=True)
    assert gradcheck(lambda x: mean_deltas(x, rois, rule), box_maps, fast_mode=True)
    assert gradcheck(lambda x: class_masks(x, rois, classes, rule).values, maps, fast_mode=True)


@settings(max_examples=40, deadline=None)
@given(
    box=st.tuples(*[st.floats(-150, 250, width=32)] * 4),
    valid=st.tuples(st.integers(1, 5), st.integers(1, 6)),
    k=st.integers(1, 4),
    out_size=st.integers(1, 8),
    rule=st.sampled_from(RULES),
)
def test_any_box_equals_the_definition(box, valid, k, out_size, rule):
    rule = replace(rule, out_size=out_size)
    maps = torch.randn((1, 5, 6, k * k, 2, 2), generator=torch.Generator().manual_seed(2))
    rois = RoIs(
        boxes=torch.tensor([box]), image_index=torch.tensor([0]), cells=torch.tensor([valid])
    )
    close(class_scores(maps, rois, rule), definition.class_scores(maps, rois, rule))
    close(
        mean_deltas(maps.flatten(4), rois, rule),
        definition.mean_deltas(maps.flatten(4), rois, rule),
    )


@pytest.mark.parametrize("sides", ["mask", "score"])
def test_the_release_rule(shared: Path, sides: str):
    golden = np.load(shared / "golden/unit/unit_mx_psroi.npz")
    # channel ((class * 2 + side) * 7 + row) * 7 + column
    maps = torch.from_numpy(golden["x"]).unflatten(1, (2, 2, 49)).permute(0, 4, 5, 3, 2, 1)
    out = torch.from_numpy(golden["out"]).unflatten(1, (2, 2))
    rule = assembly_rule(preset("release").model)
    rois = RoIs(
        boxes=torch.from_numpy(golden["rois_bxyxy"][:, 1:] + np.float32([0, 0, 1, 1])),
        image_index=torch.from_numpy(golden["rois_bxyxy"][:, 0]).long(),
        cells=torch.tensor([[20, 24]]),
    )
    if sides == "score":
        close(class_scores(maps, rois, rule), out.amax(dim=2).mean(dim=(2, 3)))
        return
    for category in (0, 1):
        classes = torch.full((len(rois),), category)
        values = class_masks(maps, rois, classes, rule).values
        close(values.view(-1, 21, 21, 2), out[:, category].permute(0, 2, 3, 1))


@pytest.mark.parametrize("name", ["fcis", "integer_rois", "p14g7", "p6g4", "p7"])
def test_the_port_rule_and_its_gradient(shared: Path, name: str):
    golden = np.load(shared / f"golden/unit/unit_psroi_{name}.npz")
    k, bins = int(golden["group_size"]), int(golden["pooled_size"])
    x = torch.from_numpy(golden["x"]).requires_grad_()
    rois = RoIs(
        boxes=torch.from_numpy(golden["rois"][:, [1, 0, 3, 2]]),
        image_index=torch.from_numpy(golden["roi_indices"]),
        cells=torch.tensor([x.shape[2:]] * len(x)),
    )
    rule = assembly_rule(preset("chainercv", f"head.k={k}", f"head.out_size={bins}").model)
    rule = replace(rule, stride=round(1 / float(golden["spatial_scale"])))
    # every output channel is a class; the inside is the channel, the outside its opposite
    inside = x.unflatten(1, (-1, k * k)).permute(0, 3, 4, 2, 1)
    maps = torch.stack((-inside, inside), dim=4)
    expected = torch.from_numpy(golden["y_rule_f32"])
    pooled = torch.stack(
        [
            class_masks(maps, rois, torch.full((len(rois),), c), rule).values
            for c in range(expected.shape[1])
        ],
        dim=1,
    ).view(len(rois), bins, bins, expected.shape[1], 2)
    pooled = pooled.permute(4, 0, 3, 1, 2)
    # seen: 2.4e-7 of values up to 4
    close(pooled[1], expected, 1e-6)
    close(pooled[0], -expected, 1e-6)
    close(class_scores(maps, rois, rule), expected.abs().mean(dim=(2, 3)))
    # Our edges are those of float32, fused or not. With edges of float64, as `y` and `gx` have
    # them, one RoI of one file has another last row: 21 bins of 25,560 in all.
    differs = (torch.from_numpy(golden["y"]) - expected).abs().amax(dim=1) > 1e-5
    assert torch.equal(torch.from_numpy(golden["y_rule_f32fma"]), expected)
    touched = [[5, 20, column] for column in range(21)] if name == "integer_rois" else []
    assert differs.nonzero().tolist() == touched
    same = ~differs[:, None].expand_as(expected)
    close(pooled[1][same], torch.from_numpy(golden["y"])[same], 1e-6)
    # so gradients are compared without what these bins bring
    gy, gx = torch.from_numpy(golden["gy"]), golden["gx"].copy()
    for roi, row, column in touched:
        _subtract_bin(gx, golden, roi, row, column)
    pooled[1].backward(gy * same)
    assert x.grad is not None
    close(x.grad, torch.from_numpy(gx))


def _subtract_bin(gx: np.ndarray, golden: np.lib.npyio.NpzFile, roi: int, row: int, column: int):
    """Take what one bin adds to the gradient, under edges of float64, off it."""
    k, bins, scale = (golden[key].item() for key in ("group_size", "pooled_size", "spatial_scale"))
    ranges = []
    for number, low, high, limit in zip(
        (row, column), golden["rois"][roi][:2], golden["rois"][roi][2:], gx.shape[2:], strict=True
    ):
        start, width = float(low) * scale, (float(high) - float(low)) * scale / bins
        first, last = math.floor(number * width + start), math.ceil((number + 1) * width + start)
        ranges.append(slice(max(first, 0), min(last, limit)))
    cells = gx[int(golden["roi_indices"][roi])].reshape(-1, k, k, *gx.shape[2:])
    part = cells[:, row * k // bins, column * k // bins, ranges[0], ranges[1]]
    area = part.shape[1] * part.shape[2]
    part -= golden["gy"][roi, :, row, column, None, None] / area


@all_rules
def test_an_image_gets_the_same_alone_and_in_a_batch(rule: AssemblyRule):
    maps, box_maps, rois = example()
    classes = classes_of(rois, 4)
    for image, (rows, columns) in enumerate(CELLS.tolist()):  # padding must not be looked at
        for canvas, filler in ((maps[image], float("nan")), (box_maps[image], 1e6)):
            canvas[rows:], canvas[:, columns:] = filler, filler
    scores, deltas = class_scores(maps, rois, rule), mean_deltas(box_maps, rois, rule)
    masks = class_masks(maps, rois, classes, rule)
    owner = torch.repeat_interleave(masks.shapes.prod(dim=1))
    for image, (rows, columns) in enumerate(CELLS.tolist()):
        mine = rois.image_index == image
        alone = RoIs(
            boxes=rois.boxes[mine],
            image_index=torch.zeros(int(mine.sum()), dtype=torch.int64),
            cells=CELLS[image : image + 1],
        )
        own = (slice(image, image + 1), slice(rows), slice(columns))
        assert torch.equal(class_scores(maps[own], alone, rule), scores[mine])
        close(mean_deltas(box_maps[own], alone, rule), deltas[mine], 1e-6)
        values = class_masks(maps[own], alone, classes[mine], rule).values
        assert torch.equal(values, masks.values[mine[owner]])


@all_rules
def test_half_precision_is_rounded_once(rule: AssemblyRule):
    maps, box_maps, rois = example(dtype=torch.bfloat16)
    classes, half_ulp = classes_of(rois, 4), 2.0**-8
    pairs = (
        (class_scores(maps, rois, rule), class_scores(maps.float(), rois, rule)),
        (mean_deltas(box_maps, rois, rule), mean_deltas(box_maps.float(), rois, rule)),
        (
            class_masks(maps, rois, classes, rule).values,
            class_masks(maps.float(), rois, classes, rule).values,
        ),
    )
    for found, expected in pairs:
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, rtol=half_ulp, atol=1e-7)


@all_rules
def test_float64_is_kept(rule: AssemblyRule):
    maps, box_maps, rois = example(dtype=torch.float64)
    rois = replace(rois, boxes=rois.boxes.double())
    scores, deltas = class_scores(maps, rois, rule), mean_deltas(box_maps, rois, rule)
    assert scores.dtype == deltas.dtype == torch.float64
    close(scores, definition.class_scores(maps, rois, rule), 1e-12)
    close(deltas, definition.mean_deltas(box_maps, rois, rule), 1e-12)


@all_rules
def test_chunks_and_wide_indices_change_nothing(rule: AssemblyRule, monkeypatch):
    def run() -> list[Tensor]:
        maps, _, rois = example()
        maps.requires_grad_()
        scores = class_scores(maps, rois, rule)
        values = class_masks(maps, rois, classes_of(rois, 4), rule).values
        gradients = [torch.autograd.grad(o.sin().sum(), maps)[0] for o in (scores, values)]
        return [scores, values, *gradients]

    whole = run()
    for a, b in zip(whole, run(), strict=True):
        assert torch.equal(a, b)  # repeatable
    monkeypatch.setattr(cpu, "CHUNK_NUMBERS", 1)
    monkeypatch.setattr(cpu, "_index_type", lambda size: torch.int64)
    for a, b in zip(whole, run(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@all_rules
def test_no_rois(rule: AssemblyRule):
    maps, box_maps, rois = example()
    maps.requires_grad_()
    none = replace(rois, boxes=rois.boxes[:0], image_index=rois.image_index[:0])
    scores = class_scores(maps, none, rule)
    masks = class_masks(maps, none, torch.zeros(0, dtype=torch.int64), rule)
    assert scores.shape == (0, 4)
    assert mean_deltas(box_maps, none, rule).shape == (0, 4)
    assert (masks.values.shape, masks.shapes.shape) == ((0, 2), (0, 2))
    assert masks.extents.shape == (0, 4)
    (gradient,) = torch.autograd.grad(scores.sum() + masks.values.sum(), maps)
    assert torch.count_nonzero(gradient) == 0


@all_rules
def test_many_classes_and_maps_that_are_not_contiguous(rule: AssemblyRule):
    maps, _, rois = example(k=2, num_classes=1200)
    shuffled = maps.permute(3, 4, 5, 0, 1, 2).contiguous().permute(3, 4, 5, 0, 1, 2)
    assert not shuffled.is_contiguous()
    scores = class_scores(shuffled, rois, rule)
    close(scores, class_scores(maps, rois, rule), 0)
    some = maps[..., 1100:1102]
    close(scores[:, 1100:1102], definition.class_scores(some, rois, rule))


def test_autocast_keeps_the_precision_of_deltas():
    _, box_maps, rois = example()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mean_deltas(box_maps, rois, RULES[2])
    assert torch.equal(found, mean_deltas(box_maps, rois, RULES[2]))


def test_errors():
    maps, box_maps, rois = example(k=2)
    classes = classes_of(rois, 4)
    with pytest.raises(ValueError, match=r"maps: expected k \* k cells, got 3"):
        class_scores(maps[:, :, :, :3], rois, RULES[0])
    with pytest.raises(ValueError, match=r"maps: expected k \* k cells, got 3"):
        mean_deltas(box_maps[:, :, :, :3], rois, RULES[0])
    with pytest.raises(ValueError, match=r"maps: expected k \* k cells, got 3"):
        class_masks(maps[:, :, :, :3], rois, classes, RULES[0])
    with pytest.raises(ValueError, match="classes: expected 0 to 3, got 1 to 4"):
        class_masks(maps, rois, classes + 1, RULES[0])
    for cells in ([[9, 10]], [[9, 10], [7, 13]], [[9, 10], [0, 12]]):
        others = replace(rois, cells=torch.tensor(cells))
        with pytest.raises(ValueError, match=r"cells: expected .* to \(9, 12\) of 2 images"):
            class_scores(maps, others, RULES[3])
