"""A module around the operators that graphs are made of; by itself, `python graphs.py pool align`.

The tests import it, and one runs it as a program: records whose shapes are checked, as in all
tests, cannot be traced by `torch.compile`.
"""

import sys

import torch
from torch import Tensor, nn

from fcis.model.joint import mask_rois, score_rois
from fcis.ops.assembly import OPERATORS
from fcis.ops.roi_sampling import RoIs
from fcis.recipe.types import HeadRecipe, ModelRecipe
from fcis.structures import ScoreMaps

CELLS = torch.tensor([[3, 3], [2, 4]])
ROIS = RoIs(
    boxes=torch.tensor([[3.0, 5, 40, 44], [-9, 2, 70, 60], [20, 20, 30, 22], [9, 9, 8, 8]]),
    image_index=torch.tensor([0, 1, 1, 0]),
    cells=CELLS,
)
CLASSES = torch.tensor([0, 1, 2, 0])


def example(requires_grad: bool = True) -> tuple[Tensor, Tensor]:
    """Return score maps with 2 x 2 parts and three classes, and box maps, of two images."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((2, 3, 4, 4, 2, 3), generator=generator)
    boxes = torch.randn((2, 3, 4, 4, 4), generator=generator)
    return maps.requires_grad_(requires_grad), boxes.requires_grad_(requires_grad)


class Joint(nn.Module):
    """Scores and masks of RoIs, between tensors."""

    def __init__(self, sampling: str) -> None:
        super().__init__()
        self.recipe = ModelRecipe(head=HeadRecipe(k=2, out_size=4, sampling=sampling))

    def forward(
        self, maps: Tensor, box_maps: Tensor, boxes: Tensor, index: Tensor, classes: Tensor
    ) -> tuple[Tensor, ...]:
        records = ScoreMaps(classes=maps, boxes=box_maps, cells=CELLS, stride=16)
        scores = score_rois(records, boxes, index, self.recipe)
        masks = mask_rois(records, boxes, index, classes, self.recipe)
        return scores.class_logits, scores.box_deltas, masks.values, masks.shapes, masks.extents


def inputs(count: int = len(ROIS)) -> tuple[Tensor, ...]:
    """Return what `Joint` takes, with some of the RoIs."""
    rois = (ROIS.boxes[:count], ROIS.image_index[:count], CLASSES[:count])
    return (*example(requires_grad=False), *rois)


def export(sampling: str, *, strict: bool = False) -> torch.export.ExportedProgram:
    """Export `Joint` for any number of RoIs."""
    roi = torch.export.Dim("roi", min=2, max=300)
    shapes = (None, None, {0: roi}, {0: roi}, {0: roi})
    joint = Joint(sampling).eval()
    return torch.export.export(joint, inputs(), dynamic_shapes=shapes, strict=strict)


def operators(program: torch.export.ExportedProgram) -> set:
    """Return those of this package that a program calls."""
    called = {node.target for node in program.graph.nodes}
    return called & set(OPERATORS.values())


def check_export(sampling: str, *, strict: bool) -> None:
    program, joint = export(sampling, strict=strict), Joint(sampling)
    assert len(operators(program)) == 3
    for count in (4, 3):
        some = inputs(count)
        for a, b in zip(program.module()(*some), joint(*some), strict=True):
            assert torch.equal(a, b)


def check_compile(sampling: str) -> None:
    joint = Joint(sampling)
    compiled = torch.compile(joint, fullgraph=True, backend="aot_eager")
    found, expected = [], []
    for function, results in ((compiled, found), (joint, expected)):
        maps, box_maps = example()
        outputs = function(maps, box_maps, *inputs()[2:])
        sum(x.sin().sum() for x in outputs[:3]).backward()
        results += [*outputs, maps.grad, box_maps.grad]
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


if __name__ == "__main__":
    for word in sys.argv[1:]:
        check_compile(word)
        check_export(word, strict=True)
