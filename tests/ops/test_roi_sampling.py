"""Which cells each bin reads: hand-computed cases, for the definition and for the fast form."""

from collections.abc import Callable

import pytest
import torch

from fcis.ops.definition import axis_samples
from fcis.ops.roi_sampling import (
    AssemblyRule,
    RoIs,
    axis_taps,
    axis_weights,
    bin_parts,
    mask_extents,
    native_cells,
    native_range,
    round_half_away,
)

Reads = list[dict[int, float]]


def rois_of(*boxes: tuple[float, ...], cells: tuple[int, int] = (40, 40)) -> RoIs:
    return RoIs(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        image_index=torch.zeros(len(boxes), dtype=torch.int64),
        cells=torch.tensor([cells]),
    )


def reads_by_definition(low: float, high: float, limit: int, rule: AssemblyRule) -> Reads:
    return [sample.weights for sample in axis_samples(float(low), float(high), limit, rule, 7)]


def reads_by_taps(low: float, high: float, limit: int, rule: AssemblyRule) -> Reads:
    taps = axis_taps(rois_of((low, 0, high, 1), cells=(1, limit)), rule, 1)
    assert taps.cells.shape[2] == int(taps.used.max()) or rule.sampling == "align"
    return [
        {cell: w for cell, w in zip(cells, weights, strict=True) if w > 0}
        for cells, weights in zip(taps.cells[0].tolist(), taps.weights[0].tolist(), strict=True)
    ]


both = pytest.mark.parametrize("reads", [reads_by_definition, reads_by_taps])
ReadsOf = Callable[[float, float, int, AssemblyRule], Reads]
POOL = AssemblyRule(stride=16, sampling="pool")
POOL_EXACT = AssemblyRule(stride=16, sampling="pool", round_boxes=False)
ALIGN = AssemblyRule(stride=16, sampling="align")
NATIVE = AssemblyRule(stride=16, sampling="native")


@both
@pytest.mark.parametrize("rule", [POOL, POOL_EXACT, ALIGN])
def test_a_bin_of_one_cell_reads_that_cell(reads: ReadsOf, rule: AssemblyRule):
    assert reads(0, 336, 40, rule) == [{p: 1.0} for p in range(21)]


@both
def test_pooling_one_cell_reads_cell_zero_everywhere(reads: ReadsOf):
    assert reads(0, 16, 40, POOL) == [{0: 1.0}] * 21


@both
def test_pooling_48_pixels_ends_one_cell_late(reads: ReadsOf):
    found = reads(0, 48, 40, POOL)
    assert found[0] == {0: 1.0}
    assert found[7] == {1: 1.0}  # 1.0 to 1.14
    assert found[-1] == {2: 0.5, 3: 0.5}  # the edge is 3.0000002 in float32
    assert reads(0, 48, 3, POOL)[-1] == {2: 1.0}  # where cell 3 is not valid


@both
def test_pooling_rounds_away_from_zero_and_adds_one(reads: ReadsOf):
    rule = AssemblyRule(stride=1, sampling="pool", out_size=1)
    # x0 = 2.5 -> 3; last pixel 5.5 -> 6, so the end is 7
    assert reads(2.5, 6.5, 40, rule) == [{3: 0.25, 4: 0.25, 5: 0.25, 6: 0.25}]
    exact = AssemblyRule(stride=1, sampling="pool", out_size=1, round_boxes=False)
    assert list(reads(2.5, 6.5, 40, exact)[0]) == [2, 3, 4, 5, 6]


@both
def test_pooling_outside_reads_nothing_and_inverted_a_tenth_of_a_cell(reads: ReadsOf):
    assert reads(700, 800, 40, POOL) == [{}] * 21
    assert reads(-90, -20, 40, POOL) == [{}] * 21
    assert reads(40, 20, 40, POOL) == [{2: 1.0}] * 21


@both
def test_align_interpolates_between_centres_and_stops_at_the_border(reads: ReadsOf):
    rule = AssemblyRule(stride=16, sampling="align", out_size=2)
    assert reads(32, 64, 40, rule) == [{2: 1.0}, {3: 1.0}]
    assert reads(24, 56, 40, rule) == [{1: 0.5, 2: 0.5}, {2: 0.5, 3: 0.5}]
    assert reads(-100, -50, 40, rule) == [{0: 1.0}] * 2
    assert reads(-100, 1000, 5, rule)[1] == {4: 1.0}
    assert reads(64, 32, 40, rule) == [{3: 1.0}, {2: 1.0}]


@both
@pytest.mark.parametrize("rule", [POOL, POOL_EXACT, ALIGN])
def test_coordinates_that_are_no_numbers_have_a_meaning(reads: ReadsOf, rule: AssemblyRule):
    assert reads(float("nan"), 16, 40, rule) == reads(0, 16, 40, rule)
    assert reads(0, float("inf"), 40, rule) == reads(0, 2.0**20, 40, rule)


def test_bins_are_dealt_out_to_parts_evenly():
    cpu = torch.device("cpu")
    assert bin_parts(21, 7, cpu).tolist() == [p // 3 for p in range(21)]
    assert bin_parts(6, 4, cpu).tolist() == [0, 0, 1, 2, 2, 3]
    assert [s.part for s in axis_samples(0.0, 99.0, 9, ALIGN, 7)] == [p // 3 for p in range(21)]


def test_native_cells_of_a_small_roi():
    # columns 20..60 px are cells 1, 2, 3; rows 16..48 px are cells 1, 2
    cells = native_cells(rois_of((20, 16, 60, 48)), NATIVE, 2)
    assert cells.shapes.tolist() == [[2, 3]]
    assert cells.row.tolist() == [1, 1, 1, 2, 2, 2]
    assert cells.column.tolist() == [1, 2, 3, 1, 2, 3]
    assert cells.part.tolist() == [0, 1, 1, 2, 3, 3]  # columns (i + 0.5) 2 / 3 = 0.3, 1, 1.7
    assert [(s.part, s.weights) for s in axis_samples(20.0, 60.0, 40, NATIVE, 2)] == [
        (0, {1: 1.0}),
        (1, {2: 1.0}),
        (1, {3: 1.0}),
    ]


@pytest.mark.parametrize(
    ("low", "high", "first", "count"),
    [(1000, 1100, 4, 1), (-90, -20, 0, 1), (32, 32, 2, 1), (60, 20, 3, 1), (-9, 999, 0, 5)],
)
def test_native_ranges_cover_one_valid_cell_at_least(low, high, first, count):
    found = native_range(rois_of((low, 0, high, 1), cells=(1, 5)), NATIVE, 1)
    assert [int(value) for value in found] == [first, count]
    samples = axis_samples(float(low), float(high), 5, NATIVE, 7)
    assert [cell for s in samples for cell in s.weights] == list(range(first, first + count))


@pytest.mark.parametrize("rule", [POOL, POOL_EXACT, ALIGN, NATIVE])
def test_axis_weights_are_the_shares_of_the_mean(rule: AssemblyRule):
    rois = rois_of((20, 30, 170.3, 90), (-5, -9, 400, 300), (3, 3, 4, 4), cells=(8, 12))
    weights = axis_weights(rois, rule, 1, k=7, size=15)
    for row, (x0, _, x1, _) in zip(weights, rois.boxes.tolist(), strict=True):
        expected = torch.zeros(7, 15)
        samples = axis_samples(x0, x1, 12, rule, 7)
        for sample in samples:
            for cell, weight in sample.weights.items():
                expected[sample.part, cell] += weight / len(samples)
        torch.testing.assert_close(row, expected, rtol=0, atol=1e-6)


def test_mask_extents():
    rois = rois_of((10.3, 5.5, 20.6, 30.4), (-0.5, -1.5, 3, 700), cells=(5, 5))
    assert mask_extents(rois, POOL).tolist() == [[10, 6, 21, 30], [-1, -2, 3, 700]]
    assert mask_extents(rois, NATIVE).tolist() == [[0, 0, 32, 32], [0, 0, 16, 80]]
    assert torch.equal(mask_extents(rois, ALIGN), rois.boxes)
    assert torch.equal(mask_extents(rois, POOL_EXACT), rois.boxes)


def test_rounding_like_c():
    values = torch.tensor([0.5, 1.5, -0.5, -1.5, 0.49999997, 2.4, -2.6, 8388609.0])
    assert round_half_away(values).tolist() == [1, 2, -1, -2, 0, 2, -3, 8388609]


@pytest.mark.parametrize("rule", [POOL, ALIGN, NATIVE])
def test_no_rois(rule: AssemblyRule):
    rois = rois_of()
    assert len(rois) == 0
    assert axis_weights(rois, rule, 0, k=7, size=9).shape == (0, 7, 9)
    assert mask_extents(rois, rule).shape == (0, 4)
    assert native_cells(rois, NATIVE, 7).shapes.shape == (0, 2)


def test_rules_are_checked():
    with pytest.raises(ValueError, match="stride: expected at least 1, got 0"):
        AssemblyRule(stride=0, sampling="pool")
    with pytest.raises(ValueError, match="out_size: expected at least 1, got 0"):
        AssemblyRule(stride=16, sampling="pool", out_size=0)
    with pytest.raises(ValueError, match="sampling: expected pool or align, got 'native'"):
        axis_taps(rois_of((0, 0, 1, 1)), NATIVE, 0)


def test_the_sampling_is_checked(no_shape_checks):
    with pytest.raises(ValueError, match="expected one of pool, align, native, got 'nearest'"):
        AssemblyRule(stride=16, sampling="nearest")  # pyright: ignore[reportArgumentType]
