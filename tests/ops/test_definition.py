"""The definition against hand-computed cases and against other implementations' numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fcis.ops.definition import assemble, class_masks, class_scores, mean_deltas
from fcis.ops.roi_sampling import AssemblyRule, RoIs

CELLS = torch.tensor([30, 30])


@pytest.mark.parametrize("sampling", ["pool", "align", "native"])
@pytest.mark.parametrize("box", [(0, 0, 336, 336), (33, 50, 369, 386), (100, 90, 130, 440)])
def test_constant_maps_show_the_part_of_each_position(sampling, box):
    maps = torch.arange(49.0).expand(30, 30, 49)
    rule = AssemblyRule(stride=16, sampling=sampling)
    found = assemble(maps, torch.tensor(box, dtype=torch.float32), CELLS, rule)
    rows, columns = found.shape
    if sampling != "native":
        assert (rows, columns) == (21, 21)
    expected = torch.tensor(
        [
            [float(int((i + 0.5) * 7 / rows) * 7 + int((j + 0.5) * 7 / columns))]
            for i in range(rows)
            for j in range(columns)
        ]
    )
    torch.testing.assert_close(found.reshape(-1, 1), expected, rtol=0, atol=1e-4)


def two_cells() -> tuple[torch.Tensor, RoIs]:
    """One part, one row of two cells, two classes, seen by one RoI and by its right half."""
    maps = torch.zeros(1, 1, 2, 1, 2, 2)
    maps[0, 0, 0, 0] = torch.tensor([[1.0, 5.0], [3.0, -1.0]])  # outside, inside
    maps[0, 0, 1, 0] = torch.tensor([[4.0, 2.0], [2.0, 2.0]])
    boxes = torch.tensor([[0.0, 0, 32, 16], [16.0, 0, 32, 16]])
    rois = RoIs(boxes=boxes, image_index=torch.zeros(2, dtype=torch.int64), cells=CELLS[None] // 15)
    return maps, rois


def test_scores_are_means_of_the_greater_side():
    maps, rois = two_cells()
    scores = class_scores(maps, rois, AssemblyRule(stride=16, sampling="native"))
    assert scores.tolist() == [[3.5, 3.5], [4.0, 2.0]]


def test_masks_keep_both_sides_of_one_class():
    maps, rois = two_cells()
    rule = AssemblyRule(stride=16, sampling="native")
    masks = class_masks(maps, rois, torch.tensor([1, 0]), rule)
    assert masks.values.tolist() == [[5, -1], [2, 2], [4, 2]]
    assert masks.shapes.tolist() == [[1, 2], [1, 1]]
    assert masks.extents.tolist() == rois.boxes.tolist()


def test_deltas_are_means():
    _, rois = two_cells()
    maps = torch.arange(8.0).reshape(1, 1, 2, 1, 4)
    deltas = mean_deltas(maps, rois, AssemblyRule(stride=16, sampling="native"))
    assert deltas.tolist() == [[2, 3, 4, 5], [4, 5, 6, 7]]


def test_no_rois():
    maps, rois = two_cells()
    none = RoIs(boxes=rois.boxes[:0], image_index=rois.image_index[:0], cells=rois.cells)
    rule = AssemblyRule(stride=16, sampling="pool")
    assert class_scores(maps, none, rule).shape == (0, 2)
    assert mean_deltas(torch.zeros(1, 1, 2, 1, 4), none, rule).shape == (0, 4)
    masks = class_masks(maps, none, torch.zeros(0, dtype=torch.int64), rule)
    assert (masks.values.shape, masks.shapes.shape) == ((0, 2), (0, 2))


def channels_last(x: np.ndarray, k: int) -> torch.Tensor:
    """Turn channels (out, part row, part column) into maps (image, h, w, part, out)."""
    return torch.from_numpy(x).unflatten(1, (-1, k * k)).permute(0, 3, 4, 2, 1)


def test_the_release_rule(shared: Path):
    golden = np.load(shared / "golden/unit/unit_mx_psroi.npz")
    maps = channels_last(golden["x"], 7)
    rule = AssemblyRule(stride=16, sampling="pool")
    for roi, expected in zip(golden["rois_bxyxy"], golden["out"], strict=True):
        box = torch.from_numpy(roi[1:] + np.float32([0, 0, 1, 1]))
        found = assemble(maps[int(roi[0])], box, torch.tensor([20, 24]), rule)
        np.testing.assert_allclose(found.permute(2, 0, 1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["fcis", "integer_rois", "p14g7", "p6g4", "p7"])
def test_the_port_rule(shared: Path, name: str):
    golden = np.load(shared / f"golden/unit/unit_psroi_{name}.npz")
    x, k = golden["x"], int(golden["group_size"])
    maps, valid = channels_last(x, k).double(), torch.tensor(x.shape[2:])
    rule = AssemblyRule(
        stride=round(1 / float(golden["spatial_scale"])),
        sampling="pool",
        out_size=int(golden["pooled_size"]),
        round_boxes=False,
    )
    boxes = torch.from_numpy(golden["rois"][:, [1, 0, 3, 2]])
    for box, image, expected in zip(
        boxes, golden["roi_indices"], golden["y_rule_f32"], strict=True
    ):
        found = assemble(maps[image], box, valid, rule)
        np.testing.assert_allclose(found.permute(2, 0, 1), expected, rtol=0, atol=1e-5)
