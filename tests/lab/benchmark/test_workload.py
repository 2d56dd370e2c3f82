"""Problems to measure: repeatable, inside the image, the same values in either order."""

import torch

from fcis.lab.benchmark.workload import STRIDE, Size, random_boxes, workload

SMALL = Size(rois=5, classes=3, rows=4, columns=6, k=2, out_size=4)


def test_boxes_lie_inside_and_have_sides_of_all_octaves():
    boxes = random_boxes(500, 608, 1008, torch.Generator().manual_seed(0))
    sides = boxes[:, 2:] - boxes[:, :2]
    assert boxes.min() >= 0 and (boxes[:, 2] <= 1008).all() and (boxes[:, 3] <= 608).all()
    assert sides.min() >= 32 - 1e-3 and sides.max() <= 600 + 1e-3
    # evenly by octave: half of them below the geometric mean
    assert 0.42 < (sides < (32 * 600) ** 0.5).float().mean() < 0.58


def test_boxes_fit_into_small_images():
    boxes = random_boxes(50, 20, 64, torch.Generator().manual_seed(0))
    assert (boxes[:, 3] <= 20 + 1e-3).all() and (boxes[:, 2] <= 64 + 1e-3).all()
    assert random_boxes(0, 20, 64, torch.Generator()).shape == (0, 4)


def test_planes_are_the_same_maps_in_the_release_order():
    problem = workload(SMALL, "cpu")
    classes, boxes = problem.planes()
    assert classes.shape == (1, 3 * 2 * 4, 4, 6) and boxes.shape == (1, 4 * 4, 4, 6)
    label, side, row, column = 2, 1, 0, 1
    channel = ((label * 2 + side) * 2 + row) * 2 + column
    assert torch.equal(classes[0, channel], problem.classes[0, :, :, row * 2 + column, side, label])
    assert torch.equal(boxes[0, 3 * 4 + 2], problem.boxes[0, :, :, 2, 3])
    assert classes.is_contiguous()


def test_the_same_seed_gives_the_same_problem():
    first, again, other = (workload(SMALL, "cpu", seed=s) for s in (0, 0, 1))
    assert torch.equal(first.classes, again.classes)
    assert torch.equal(first.rois.boxes, again.rois.boxes)
    assert not torch.equal(first.classes, other.classes)
    assert first.rois.cells.tolist() == [[4, 6]]
    assert (first.rois.boxes[:, 3] <= 4 * STRIDE).all()
    assert first.chosen.min() >= 1 and first.chosen.max() <= 2
