"""Covered cells as table rows: against the definition's list of cells, and block by block."""

import pytest
import torch

from fcis.ops.cpu_native import block_rows, blocks, by_row, native_lines
from fcis.ops.roi_sampling import AssemblyRule, RoIs, native_cells

NATIVE = AssemblyRule(stride=16, sampling="native")


def rois_of(count, images=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 260 - 40
    sides = torch.rand(count, 2, generator=generator) * 200
    return RoIs(
        boxes=torch.cat([corners, corners + sides], dim=1),
        image_index=torch.randint(0, images, (count,), generator=generator),
        cells=torch.tensor([[9, 12], [7, 10]])[:images],
    )


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_rows_are_those_of_the_covered_cells(count, k):
    rois = rois_of(count)
    cells = native_cells(rois, NATIVE, k)
    image = rois.image_index[cells.roi]
    expected = ((image * 9 + cells.row) * 12 + cells.column) * k * k + cells.part
    lines = native_lines((2, 9, 12, k * k, 2, 5), rois, NATIVE)
    index, roi = lines.cells()
    assert torch.equal(index, expected)
    assert torch.equal(roi, cells.roi)
    assert torch.equal(lines.counts, cells.shapes.prod(dim=1))


def test_lines_of_some_rows():
    lines = native_lines((2, 9, 12, 4, 2, 5), rois_of(40), NATIVE)
    index, roi = lines.cells()
    image_row = index // (12 * 4)
    here = (image_row >= 7) & (image_row < 11)  # across both images
    found = lines.within(7, 11).cells()
    assert torch.equal(found[0], index[here]) and torch.equal(found[1], roi[here])
    assert 0 < int(here.sum()) < len(index)


def test_blocks_skip_what_nobody_covers():
    boxes = torch.tensor([[0.0, 0, 32, 16], [16, 96, 48, 128]])  # rows 0, and 6 and 7
    rois = RoIs(
        boxes=boxes, image_index=torch.zeros(2, dtype=torch.int64), cells=torch.tensor([[9, 4]])
    )
    size = (1, 9, 4, 1, 2, 5)
    found = list(blocks(size, native_lines(size, rois, NATIVE), 2))
    assert [(b.start, b.stop) for b in found] == [(0, 8), (24, 32)]
    assert [b.index.tolist() for b in found] == [[0, 1], [1, 2, 5, 6]]
    assert [b.roi.tolist() for b in found] == [[0, 0], [1, 1, 1, 1]]


def test_rows_of_a_block():
    assert block_rows((1, 38, 63, 49, 2, 81), 2**21) == 8
    assert block_rows((1, 38, 63, 49, 2, 1201), 2**21) == 1  # one has 3.7 million


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_sums_of_blocks_are_those_of_a_loop_and_its_transpose(rows):
    size = (2, 9, 12, 9, 2, 4)
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(2 * 9 * 12 * 9, 2, 4, generator=generator, dtype=torch.float64)
    values = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    lines = native_lines(size, rois_of(30), NATIVE)
    sums, transposed = torch.zeros_like(values), torch.zeros_like(table[:, 0])
    buffer = table.new_empty((min(rows * 12 * 9, len(table)), 4))
    for block in blocks(size, lines, rows):
        sums += block.sums(table, buffer, 30)
        touched, found = block.transposed_sums(values)
        assert len(touched.unique()) == len(touched)
        transposed[touched] += found
    expected, back = torch.zeros_like(values), torch.zeros_like(transposed)
    for row, roi in zip(*(values.tolist() for values in lines.cells()), strict=True):
        expected[roi] += torch.maximum(table[row, 0], table[row, 1])
        back[row] += values[roi]
    torch.testing.assert_close(sums, expected)
    torch.testing.assert_close(transposed, back)


def test_taps_by_row():
    rows, offsets, order = by_row(torch.tensor([4, 2, 4, 7, 2]))
    assert rows.tolist() == [2, 4, 7]
    assert offsets.tolist() == [0, 2, 4]
    assert order.tolist() == [1, 4, 0, 2, 3]
