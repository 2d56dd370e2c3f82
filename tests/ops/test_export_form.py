"""The plain forms against the definition, and exported programs made of them alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fcis.ops import definition
from fcis.ops import export_form as plain
from fcis.ops.roi_sampling import AssemblyRule, RoIs, pool_range

from . import graphs

RULES = [
    AssemblyRule(stride=16, sampling="pool"),
    AssemblyRule(stride=16, sampling="pool", round_boxes=False, out_size=6),
    AssemblyRule(stride=16, sampling="align"),
]
all_rules = pytest.mark.parametrize("rule", RULES, ids=["pool", "port", "align"])
NATIVE = AssemblyRule(stride=16, sampling="native")
INSIDE_CANVAS = [
    [0.0, 0, 48, 48],
    [10.3, 5.2, 150.7, 130.1],
    [-30, -40, -5, -6],
    [50, 50, 50, 50],
    [60, 60, 40, 30],
    [0, 0, 192, 144],
    [0, 0, 0.5, 7.5],
    [17.2, 9.9, 88.1, 141.5],
]
BEYOND = [[-20.0, -20, 500, 500], [float("nan"), 3, float("inf"), 8], [300, 300, 400, 900]]


def example(
    boxes: list[list[float]], k: int = 3, num_classes: int = 4, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, RoIs]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((2, 9, 12, k * k, 2, num_classes), generator=generator).to(dtype)
    box_maps = torch.randn((2, 9, 12, k * k, 4), generator=generator).to(dtype)
    rois = RoIs(
        boxes=torch.tensor(boxes),
        image_index=torch.arange(len(boxes)) % 2,
        cells=torch.tensor([[9, 10], [7, 12]]),
    )
    return maps, box_maps, rois


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@all_rules
@pytest.mark.parametrize(("k", "num_classes"), [(3, 4), (1, 1), (7, 2)])
@pytest.mark.parametrize("taps", [None, 12])
def test_equals_the_definition(rule: AssemblyRule, k: int, num_classes: int, taps: int | None):
    boxes = INSIDE_CANVAS if taps is None else INSIDE_CANVAS + BEYOND
    maps, box_maps, rois = example(boxes, k, num_classes)
    for canvas in (maps, box_maps):  # padding must not be looked at
        canvas[0, :, 10:], canvas[1, 7:] = float("nan"), float("nan")
    found = plain.class_scores(maps, rois, rule, taps=taps)
    close(found, definition.class_scores(maps, rois, rule))
    found = plain.mean_deltas(box_maps, rois, rule, taps=taps)
    close(found, definition.mean_deltas(box_maps, rois, rule))
    classes = torch.arange(len(rois)) * 5 % num_classes
    masks = plain.class_masks(maps, rois, classes, rule, taps=taps)
    expected = definition.class_masks(maps, rois, classes, rule)
    close(masks.values, expected.values)
    assert torch.equal(masks.shapes, expected.shapes)
    assert torch.equal(masks.extents, expected.extents)


@all_rules
def test_half_precision_is_rounded_once(rule: AssemblyRule):
    maps, box_maps, rois = example(INSIDE_CANVAS, dtype=torch.bfloat16)
    pairs = (
        (plain.class_scores(maps, rois, rule), plain.class_scores(maps.float(), rois, rule)),
        (plain.mean_deltas(box_maps, rois, rule), plain.mean_deltas(box_maps.float(), rois, rule)),
    )
    for found, expected in pairs:
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, expected.to(torch.bfloat16))


@pytest.mark.parametrize("rule", RULES[:2])
@pytest.mark.parametrize("size", [1, 5, 20, 21, 22, 41, 42, 62, 63, 64, 126])
def test_enough_cells_are_read_of_a_roi_within_the_canvas(rule: AssemblyRule, size: int):
    generator = torch.Generator().manual_seed(size)
    ends = torch.rand((500, 2), generator=generator) * size * 16
    low, high = ends.amin(dim=1), ends.amax(dim=1)
    low[0], high[0] = 0, size * 16
    low[1:100], high[1:100] = low[1:100].floor() + 0.5, size * 16 - 0.5
    rois = RoIs(
        boxes=torch.stack((low, low, high, high), dim=1),
        image_index=torch.zeros(500, dtype=torch.int64),
        cells=torch.tensor([[size, size]]),
    )
    first, last = pool_range(rois, rule, 0)
    assert int((last - first).max()) <= plain._most_taps(size, rule, None)


@all_rules
def test_no_rois(rule: AssemblyRule):
    maps, box_maps, rois = example(INSIDE_CANVAS)
    none = replace(rois, boxes=rois.boxes[:0], image_index=rois.image_index[:0])
    assert plain.class_scores(maps, none, rule).shape == (0, 4)
    assert plain.mean_deltas(box_maps, none, rule).shape == (0, 4)
    masks = plain.class_masks(maps, none, torch.zeros(0, dtype=torch.int64), rule)
    assert masks.values.shape == (0, 2)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["pool", "align"])
def test_an_exported_program_can_do_without_the_operators(sampling: str, no_shape_checks):
    program = graphs.export(sampling)
    assert len(graphs.operators(program)) == 3
    program = program.run_decompositions(plain.decompositions())
    assert not graphs.operators(program)
    joint = graphs.Joint(sampling)
    for count in (4, 3):
        some = graphs.inputs(count)
        for found, expected in zip(program.module()(*some), joint(*some), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_native_has_no_plain_form():
    maps, box_maps, rois = example(INSIDE_CANVAS)
    classes = torch.zeros(len(rois), dtype=torch.int64)
    with pytest.raises(ValueError, match="sampling: expected pool or align, got 'native'"):
        plain.class_scores(maps, rois, NATIVE)
    with pytest.raises(ValueError, match="sampling: expected pool or align, got 'native'"):
        plain.mean_deltas(box_maps, rois, NATIVE)
    with pytest.raises(ValueError, match="sampling: expected pool or align, got 'native'"):
        plain.class_masks(maps, rois, classes, NATIVE)
