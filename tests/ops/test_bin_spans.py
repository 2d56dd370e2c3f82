"""Spans against the samples of the definition, and what kernels read of them."""

import math

import pytest
import torch

from fcis.ops.bin_spans import axis_spans, span_tables
from fcis.ops.definition import axis_samples
from fcis.ops.roi_sampling import AssemblyRule, RoIs

RULES = [
    AssemblyRule(stride=16, sampling="pool"),
    AssemblyRule(stride=16, sampling="pool", round_boxes=False, out_size=6),
    AssemblyRule(stride=16, sampling="align", out_size=5),
    AssemblyRule(stride=16, sampling="native"),
]
all_rules = pytest.mark.parametrize("rule", RULES, ids=["pool", "port", "align", "native"])
BOXES = [
    (0.0, 0.0, 48.0, 48.0),
    (10.3, 5.2, 150.7, 130.1),
    (-30.0, -40.0, -5.0, -6.0),
    (300.0, 300.0, 400.0, 400.0),
    (60.0, 60.0, 40.0, 30.0),
    (-20.0, -20.0, 500.0, 500.0),
    (float("nan"), 3.0, float("inf"), 8.0),
    (24.0, 24.0, 24.0, 24.0),
]
CELLS = [(9, 10), (7, 12)]


def example() -> RoIs:
    return RoIs(
        boxes=torch.tensor(BOXES),
        image_index=torch.arange(len(BOXES)) % 2,
        cells=torch.tensor(CELLS),
    )


@all_rules
@pytest.mark.parametrize("axis", [0, 1])
def test_spans_are_the_samples_of_the_definition(rule: AssemblyRule, axis: int):
    spans = axis_spans(example(), rule, axis, k=3, size=12)
    for roi, box in enumerate(BOXES):
        limit = CELLS[roi % 2][axis]
        samples = axis_samples(box[1 - axis], box[3 - axis], limit, rule, 3)
        assert int(spans.bins[roi]) == len(samples)
        for p, sample in enumerate(samples):
            first, count = int(spans.first[roi, p]), int(spans.count[roi, p])
            tail = [float(spans.tail[roi, p])] * (count - 1)
            weights = [float(spans.head[roi, p]), *tail][:count]
            found = dict(enumerate(weights, start=first))
            found = {cell: weight for cell, weight in found.items() if abs(weight) > 1e-6}
            expected = {cell: w for cell, w in sample.weights.items() if w > 1e-6}
            assert found.keys() == expected.keys()
            assert all(math.isclose(found[c], expected[c], abs_tol=1e-5) for c in found)
            assert int(spans.part[roi, p]) == sample.part
        assert not spans.count[roi, len(samples) :].any()
        assert int(spans.first[roi].min()) >= 0 and int(spans.first[roi].max()) < limit


@all_rules
def test_tables_hold_both_axes(rule: AssemblyRule):
    tables = span_tables(example(), rule, (2, 9, 12, 9, 2, 4))
    for axis, size in enumerate((9, 12)):
        spans = axis_spans(example(), rule, axis, k=3, size=size)
        bins = spans.first.shape[1]
        found = tables.spans[:, axis, :bins]
        expected = torch.stack((spans.first, spans.count, spans.part), dim=2)
        assert torch.equal(found.long(), expected)
        assert torch.equal(tables.weights[:, axis, :bins, 0], spans.head)
        assert torch.equal(tables.weights[:, axis, :bins, 1], spans.tail)
        assert not tables.spans[:, axis, bins:].any()
        assert torch.equal(tables.rois[:, 1 + axis].long(), spans.bins)
    assert tables.rois[:, 0].tolist() == [0, 1] * 4
    assert torch.equal(tables.positions, tables.rois[:, 1:].prod(dim=1))


@all_rules
def test_readers_are_all_bins_that_read_a_cell(rule: AssemblyRule):
    tables = span_tables(example(), rule, (2, 9, 12, 9, 2, 4))
    readers = tables.readers(12)
    assert readers.shape == (len(BOXES), 2, 12, 2)
    for roi in range(len(BOXES)):
        for axis in (0, 1):
            spans = tables.spans[roi, axis].tolist()
            for cell in range(12):
                bins = [p for p, (first, n, _) in enumerate(spans) if first <= cell < first + n]
                assert list(range(*readers[roi, axis, cell].tolist())) == bins


def test_tables_stay_within_the_maps():
    """Kernels do not check values, so nothing may point beyond."""
    rois = RoIs(
        boxes=torch.tensor([[0.0, 0, 900, 900]]),
        image_index=torch.tensor([0]),
        cells=torch.tensor([[90, 0]]),
    )
    tables = span_tables(rois, RULES[3], (1, 4, 5, 4, 2, 1))
    assert tables.rois.tolist() == [[0, 4, 1]]


@all_rules
def test_no_rois(rule: AssemblyRule):
    none = RoIs(
        boxes=torch.zeros(0, 4),
        image_index=torch.zeros(0, dtype=torch.int64),
        cells=torch.tensor(CELLS),
    )
    tables = span_tables(none, rule, (2, 9, 12, 9, 2, 4))
    assert tables.rois.shape == (0, 3)
    assert tables.spans.shape[:2] == (0, 2)
    assert tables.readers(12).shape == (0, 2, 12, 2)


def test_maps_need_a_square_of_cells():
    with pytest.raises(ValueError, match=r"maps: expected k \* k cells, got 8"):
        span_tables(example(), RULES[0], (2, 9, 12, 8, 2, 4))
