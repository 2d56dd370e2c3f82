"""What torch is told of the operators: shapes, gradients, and that graphs may hold them."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from fcis.ops.assembly import (
    OPERATORS,
    _arguments,
    class_masks,
    class_scores,
    keywords,
    mean_deltas,
)
from fcis.ops.roi_sampling import AssemblyRule

from . import graphs
from .graphs import CLASSES, ROIS, check_export, example

SAMPLINGS = ["pool", "align", "native"]


def rule_of(sampling: str) -> AssemblyRule:
    return AssemblyRule(stride=16, sampling=sampling, out_size=4)  # pyright: ignore


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("name", list(OPERATORS))
def test_torch_accepts_the_operator(sampling: str, name: str, no_shape_checks):
    maps, box_maps = example()
    last = _arguments(ROIS, rule_of(sampling))
    masks = class_masks(maps, ROIS, CLASSES, rule_of(sampling)).values
    inputs = {
        "class_scores": (maps, *last),
        "class_scores_backward": (torch.ones(4, 3), maps.detach(), *last),
        "mean_deltas": (box_maps, *last),
        "mean_deltas_backward": (torch.ones(4, 4), box_maps.shape, *last),
        "class_masks": (maps, CLASSES, *last),
        "class_masks_backward": (torch.ones_like(masks), maps.shape, CLASSES, *last),
    }
    found = torch.library.opcheck(OPERATORS[name], inputs[name])
    assert set(found.values()) == {"SUCCESS"}


def test_records_survive_the_way_through_an_operator():
    rule = AssemblyRule(stride=8, sampling="pool", out_size=5, round_boxes=False)
    maps, _ = example()
    arguments = (maps, CLASSES, *_arguments(ROIS, rule))
    found = keywords(OPERATORS["class_masks"], arguments)
    assert found.keys() == {"maps", "classes", "rois", "rule"}
    assert found["maps"] is maps and found["classes"] is CLASSES and found["rule"] == rule
    again = found["rois"]
    assert again.boxes.equal(ROIS.boxes)
    assert again.image_index is ROIS.image_index and again.cells is ROIS.cells


def test_boxes_get_no_gradient():
    maps, _ = example()
    boxes = ROIS.boxes.clone().requires_grad_()
    class_scores(maps, replace(ROIS, boxes=boxes), rule_of("align")).sum().backward()
    assert boxes.grad is None and maps.grad is not None


@pytest.mark.parametrize("name", ["class_scores", "mean_deltas", "class_masks"])
def test_a_gradient_has_no_gradient(name: str):
    maps, box_maps = example()
    rule = rule_of("align")
    x = box_maps if name == "mean_deltas" else maps
    results = {
        "class_scores": lambda: class_scores(maps, ROIS, rule),
        "mean_deltas": lambda: mean_deltas(box_maps, ROIS, rule),
        "class_masks": lambda: class_masks(maps, ROIS, CLASSES, rule).values,
    }
    (gradient,) = torch.autograd.grad(results[name]().sin().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="cannot be differentiated again"):
        gradient.sum().backward()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_an_exported_program_gives_the_same(sampling: str, no_shape_checks):
    check_export(sampling, strict=False)


@pytest.mark.slow
def test_a_compiled_function_gives_the_same():
    """In a process of its own: what checks the shapes of records cannot be traced."""
    command = [sys.executable, graphs.__file__, *SAMPLINGS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
