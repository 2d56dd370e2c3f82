"""Each convention by itself: where its values give different results, and where the same.

Every field of the record has a case here: a small function that runs the stage concerned on
hand-made input. What is expected was computed by hand from the words of the reference, sections
1 to 6 and 11, or of the paper.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch

from fcis.core.errors import InputError
from fcis.inference.preprocess import Resize, plan_resize, prepare
from fcis.model.fcis import FCIS
from fcis.model.joint import score_rois
from fcis.model.rpn import propose
from fcis.model.voting import MaskGrids, select, vote, voting_pairs
from fcis.recipe.conventions import (
    CHAINERCV,
    CONVENTIONS,
    PAPER,
    RELEASE,
    Conventions,
    named_conventions,
)
from fcis.recipe.named import SCRATCH, named_recipe
from fcis.recipe.types import (
    BackboneRecipe,
    DetectionRecipe,
    HeadRecipe,
    ModelRecipe,
    OptimiserRecipe,
    Preprocessing,
    RPNRecipe,
    TargetRecipe,
)
from fcis.structures import INSIDE, Features, ImageBatch, Proposals, RPNOutput, ScoreMaps
from fcis.training.batch import ObjectMask, Sample, Truth, collate_samples
from fcis.training.losses import RoILosses, compute_losses, image_losses
from fcis.training.optim import parameter_groups
from fcis.training.targets import RoITargets, roi_targets

# The three sets


# field: release, chainercv, paper; from the reference's section 11, its summary of release
# against ChainerCV, and the sections that they sum up
TABLE = {
    "sampling": ("pool", "pool", "native"),  # row 1
    "round_rois": (True, False, True),  # 4.3
    "box_slots": (2, 2, 1),  # row 2; 4.2
    "stem_eps": (1e-5, 2e-5, 1e-5),  # 2.2
    "anchor_rounding": (True, False, True),  # 3.3
    "proposal_grid": ("whole-cells", "full", "whole-cells"),  # 3.6
    "proposal_rank": ("probability", "logit", "probability"),  # 3.6
    "pad_proposals": (True, False, True),  # 3.6
    "min_size_in_original": (False, True, False),  # row 15; 3.6
    "nms_at_equal": (False, True, False),  # 3.6, 5.4
    "box_clip": ("last-pixel", "edge", "last-pixel"),  # 1.1
    "box_end": ("last-pixel", "edge", "last-pixel"),  # 1.1, 5.4
    "box_rounding": ("last-pixel", "edge", "last-pixel"),  # 5.2, 5.4
    "mask_category": ("best-foreground", "best-any", "voted"),  # row 4; 4.4
    "assignment": ("each-category", "each-category", "best-category"),  # row 5
    "vote": ("binary", "binary", "probability"),  # row 6
    "store_grid": (True, True, False),  # row 6
    "merge_at_equal": (True, True, False),  # row 7
    "foreground_at_equal": (True, True, True),  # 5.2
    "stored_at_equal": (True, False, True),  # 5.3, 5.4
    "resize": ("levels", "float", "levels"),  # 1
    "size_rounding": ("nearest", "down", "nearest"),  # 1
    "mask_loss_weight": (10.0, 10.0, 1.0),  # row 3
    "negative_low": (0.0, 0.0, 0.0),  # row 8; 0.1 belongs to the VOC recipe
    "fill_negatives": (True, False, False),  # row 8; 6.2
    "positive_at_equal": (True, True, False),  # row 9
    "truth_as_rois": (True, True, False),  # row 10
    "mask_loss_norm": ("rois", "rois", "rois"),  # rows 3 and 22
    "loss_rois": ("planned", "actual", "planned"),  # 6.4
    "rpn_box_norm": ("planned", "labelled", "planned"),  # 3.5
    "decay_biases": (False, True, False),  # 6.6
}
FIELDS = [f.name for f in fields(Conventions)]


def test_the_three_sets_are_those_of_the_reference():
    assert list(TABLE) == FIELDS
    for column, name in enumerate(("release", "chainercv", "paper")):
        conventions = named_conventions(name)
        assert {f: getattr(conventions, f) for f in FIELDS} == {
            f: values[column] for f, values in TABLE.items()
        }


def test_names():
    assert CONVENTIONS == {"release": RELEASE, "chainercv": CHAINERCV, "paper": PAPER}
    message = "--conventions caffe: no such set; there are release, chainercv, paper$"
    with pytest.raises(InputError, match=message):
        named_conventions("caffe")


def test_training_from_scratch_has_changed_nothing_else():
    """Weights in use were trained so: what is not said here is as in the release."""
    changed = {f: getattr(SCRATCH, f) for f in FIELDS if getattr(SCRATCH, f) != TABLE[f][0]}
    assert changed == {
        "sampling": "align",
        "box_slots": 1,
        "anchor_rounding": False,
        "proposal_grid": "full",
        "pad_proposals": False,
        "box_end": "edge",
        "vote": "probability",
        "store_grid": False,
        "resize": "float",
    }


# Stages on hand-made input


def boxes_of(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def tiny(conventions, *, slots=None):
    """A network of one category with one part and four samples a side."""
    recipe = replace(
        named_recipe("tiny").model,
        class_names=("thing",),
        category_ids=(1,),
        head=HeadRecipe(reduction=4, k=1, out_size=4),
        detection=DetectionRecipe(drop_size=0.1),
        conventions=conventions,
    )
    torch.manual_seed(0)
    return FCIS(recipe)


def scored(box, conventions, *, out_size):
    """The score of a RoI from a row of three cells with the values 1, 3 and 11."""
    classes = torch.full((1, 1, 3, 1, 2, 1), -100.0)
    classes[0, 0, :, 0, INSIDE, 0] = torch.tensor([1.0, 3, 11])
    maps = ScoreMaps(
        classes=classes,
        boxes=torch.zeros(1, 1, 3, 1, 4),
        cells=torch.tensor([[1, 3]]),
        stride=16,
    )
    recipe = ModelRecipe(head=HeadRecipe(k=1, out_size=out_size), conventions=conventions)
    scores = score_rois(maps, boxes_of(box), torch.tensor([0]), recipe)
    return scores.class_logits.item()


def box_maps(conventions, *, second):
    """Channels of the box branch, and what it puts out where slots hold 1 and `second`."""
    head = tiny(conventions).head
    slots = torch.tensor([1.0, second])[-conventions.box_slots :]
    with torch.no_grad():
        head.boxes.weight.zero_()
        head.boxes.bias.copy_(slots.repeat_interleave(4))
        width = head.reduction.in_channels
        features = Features(
            c4=torch.zeros(1, 1, 1, 1),
            c5=torch.zeros(1, width, 1, 1),
            cells=torch.tensor([[1, 1]]),
            stride=8,
        )
        return head(features).boxes.flatten().tolist()


def stem(conventions, variance):
    """What conv1's and conv2_x's first normalisation multiply by, all else being neutral."""
    recipe = replace(tiny(conventions).recipe, backbone=BackboneRecipe(widths=(4, 4, 4, 4)))
    recipe = replace(recipe, backbone=replace(recipe.backbone, depths=(1, 1, 1, 1)))
    backbone = FCIS(recipe).backbone
    found = []
    for norm in (backbone.bn1, backbone.get_submodule("layer1.0.bn1")):
        norm.get_buffer("running_var").fill_(variance)
        ones = torch.ones(1, len(norm.get_buffer("running_var")), 1, 1)
        found.append(norm(ones).flatten()[0].item())
    return [round(value, 2) for value in found]


def anchors(conventions, ratio):
    model = tiny(conventions)
    recipe = replace(
        model.recipe, rpn=RPNRecipe(channels=4, anchor_sizes=(32.0,), anchor_ratios=(ratio,))
    )
    return FCIS(recipe).rpn.get_buffer("anchor_shapes").tolist()


def proposed(conventions, boxes, logits, *, size=(200, 300), scale=1.0, **recipe):
    """Proposals from anchors that are right as they are, one a cell."""
    anchors = boxes if boxes.dim() == 4 else boxes[:, None, None]
    logits = torch.tensor(logits, dtype=torch.float32)
    if logits.dim() == 1:
        logits = torch.stack([torch.zeros_like(logits), logits], dim=1)
    output = RPNOutput(
        logits=logits.reshape(1, *anchors.shape[:3], 2),
        deltas=torch.zeros_like(anchors)[None],
        anchors=anchors,
        cells=torch.tensor([anchors.shape[:2]]),
        stride=16,
    )
    sizes, scales = torch.tensor([size], dtype=torch.float32), torch.tensor([[scale, scale]])
    recipe = RPNRecipe(**{"min_size": 0.1, **recipe})
    return propose(output, sizes, scales, recipe, conventions).boxes.tolist()


PLAIN = {"proposal_grid": "full", "pad_proposals": False}
APART = boxes_of((0, 0, 40, 40), (100, 0, 140, 40), (200, 0, 240, 40))


def on_grid(conventions, size):
    """How many of 3 x 4 cells propose."""
    y, x = torch.meshgrid(torch.arange(3.0) * 16, torch.arange(4.0) * 16, indexing="ij")
    corners = torch.stack([x, y], dim=-1)[:, :, None]
    boxes = torch.cat([corners, corners + 4], dim=-1)
    chosen = replace(conventions, pad_proposals=False)
    return len(proposed(chosen, boxes, list(range(12)), size=size))


def suppressed(conventions, share):
    """How many of two boxes remain, of which one covers a share of the other: RPN and head."""
    pair = boxes_of((0, 0, 10, 10), (0, 0, 10, 10 * share))
    first = len(proposed(replace(conventions, **PLAIN), pair, [2, 1], nms=0.5))
    probabilities = torch.tensor([[0.1, 0.9], [0.2, 0.8]])
    return first, len(select(pair, probabilities, DetectionRecipe(nms=0.5), conventions).rois)


def image_of(size, scale=1.0):
    resized = [int(n * scale) for n in size]
    return ImageBatch(
        pixels=torch.zeros(1, 3, *resized),
        sizes=torch.tensor([resized]),
        scales=torch.tensor([[scale, scale]]),
        original_sizes=torch.tensor([size]),
    )


def refined(conventions, shift):
    """The box that the first pass makes of (0, 0, 8, 8) by moving it, in an image of 16 px."""
    maps = ScoreMaps(
        classes=torch.zeros(1, 2, 2, 1, 2, 2),
        boxes=torch.tensor([shift / 0.2, 0, 0, 0]).expand(1, 2, 2, 1, 4),
        cells=torch.tensor([[2, 2]]),
        stride=8,
    )
    proposals = Proposals(
        boxes=boxes_of((0, 0, 8, 8)), image_index=torch.tensor([0]), objectness=torch.ones(1)
    )
    boxes, _, _ = tiny(conventions).score(maps, proposals, image_of((16, 16)))
    return [round(n, 3) for n in boxes[1].tolist()]


def detected(conventions, box, *, scale=1.0):
    """The mask's box where all of a RoI is inside, in an image of 24 px; None for no mask."""
    batch = image_of((24, 24), scale)
    cells = int(3 * scale)
    classes = torch.zeros(1, cells, cells, 1, 2, 2)
    classes[..., INSIDE, 1] = 9.0
    maps = ScoreMaps(
        classes=classes,
        boxes=torch.zeros(1, cells, cells, 1, 4),
        cells=torch.tensor([[cells, cells]]),
        stride=8,
    )
    found = tiny(conventions)._instances(maps, boxes_of(box), torch.tensor([[0.1, 0.9]]), batch, 0)
    return found.boxes[0].tolist() if len(found) else None


def pairs(conventions, rows):
    """The RoIs and categories whose masks are needed, of RoIs in one place."""
    probabilities = torch.tensor(rows)
    boxes = boxes_of((0, 0, 10, 10)).repeat(len(rows), 1)
    selection = select(boxes, probabilities, DetectionRecipe(), conventions)
    rois, classes, _ = voting_pairs(selection, probabilities, conventions)
    return sorted(zip(rois.tolist(), classes.tolist(), strict=True))


def labels(conventions, row):
    found = select(boxes_of((0, 0, 9, 9)), torch.tensor([row]), DetectionRecipe(), conventions)
    return found.labels.tolist()


def voted(conventions, values, scores, *, threshold=0.4, grid_size=1, height=4.0):
    """The mask of the best of two RoIs, the second `height` of 4 px high; None for no mask."""
    boxes = boxes_of((0, 0, 4, 4), (0, 0, 4, height))[: len(scores)]
    probabilities = torch.tensor([[1 - s, s] for s in scores])
    recipe = DetectionRecipe(mask_threshold=threshold)
    selection = select(boxes, probabilities, recipe, conventions)
    rois, _, grid_of = voting_pairs(selection, probabilities, conventions)
    values = torch.from_numpy(np.array(values, dtype=np.float32))
    grids = MaskGrids(
        values=values[rois],
        shapes=torch.tensor([values.shape[1:]]).expand(len(rois), 2),
        extents=boxes[:1].expand(len(rois), 4),
        windows=boxes[:1].long().expand(len(rois), 4),
    )
    crop = vote(selection, grids, grid_of, recipe, conventions, grid_size=grid_size).crops[0]
    return None if crop is None else crop.bits.sum().item()


AGAINST = [[[1.0]], [[0.0]]]


def resized(conventions, zoom):
    settings = Preprocessing(short_side=0, long_side=0, zoom=zoom, mean=(0.0,) * 3, std=(1.0,) * 3)
    image = np.array([[0, 10], [0, 10]], dtype=np.uint8)[:, :, None].repeat(3, axis=2)
    pixels, _ = prepare(image, settings, conventions)
    return pixels[0, 0].tolist()


def plan(conventions, size):
    found = plan_resize(size, Preprocessing(), conventions)
    return found.size, [round(factor, 6) for factor in found.factors]


def truth_of(*boxes):
    masks = tuple(ObjectMask(top=0, left=0, values=torch.ones(10, 10)) for _ in boxes)
    labels = torch.ones(len(boxes), dtype=torch.int64)
    crowds = torch.zeros(0, 4)
    return Truth(boxes=boxes_of(*boxes), labels=labels, masks=masks, crowds=crowds)


def chosen(conventions, heights, *, objects=True, rois=8, fraction=0.5):
    """(IoU in tenths, label) of the RoIs that count, where the object is 10 px high."""
    boxes = boxes_of(*((0, 0, 10, h) for h in heights))
    proposals = Proposals(
        boxes=boxes,
        image_index=torch.zeros(len(boxes), dtype=torch.int64),
        objectness=torch.ones(len(boxes)),
    )
    truth = truth_of((0, 0, 10, 10)) if objects else truth_of()
    recipe = TargetRecipe(rois=rois, ohem=False, positive_fraction=fraction)
    stds = (0.2, 0.2, 0.5, 0.5)
    found = roi_targets(proposals, [truth], recipe, conventions, stds, [torch.Generator()])
    return sorted(zip(found.boxes[:, 3].tolist(), found.labels.tolist(), strict=True))


# what is drawn, without what fills up and without ground truth
DRAWN = {"fill_negatives": False, "truth_as_rois": False}


def head_losses(conventions, positives, *, planned, rois=4):
    """(class, mask, box) loss of RoIs with class terms of 1, masks of 0.5 and boxes of 0.25."""
    labels = torch.tensor([1] * positives + [0] * (rois - positives))
    losses = RoILosses(
        classes=torch.ones(rois), masks=0.5 * (labels > 0), boxes=0.25 * (labels > 0)
    )
    targets = RoITargets(
        boxes=torch.zeros(rois, 4),
        image_index=torch.zeros(rois, dtype=torch.int64),
        labels=labels,
        objects=torch.zeros_like(labels),
        deltas=torch.zeros(rois, 4),
    )
    base = named_recipe("tiny")
    training = replace(base.training, targets=TargetRecipe(rois=planned, ohem=False))
    recipe = replace(base, model=replace(base.model, conventions=conventions), training=training)
    return [round(term.item(), 6) for term in image_losses(losses, targets, recipe, 1)]


def rpn_box_loss(conventions, *objects):
    """The RPN's box loss of 4 x 4 cells with one anchor of 8 px each, whose shifts are 0."""
    model = tiny(conventions)
    rpn = RPNRecipe(channels=4, anchor_sizes=(8.0,), anchor_ratios=(1.0,))
    base = named_recipe("tiny")
    recipe = replace(
        base,
        model=replace(model.recipe, rpn=rpn),
        training=replace(base.training, targets=TargetRecipe(anchors=64)),
    )
    model = FCIS(recipe.model)
    torch.nn.init.zeros_(model.rpn.deltas.weight)
    sample = Sample(
        number=0,
        pixels=torch.zeros(3, 32, 32),
        plan=Resize(size=(32, 32), factors=(1.0, 1.0)),
        original_size=(32, 32),
        truth=truth_of(*objects),
        name="made by hand",
    )
    losses = compute_losses(model, collate_samples([sample]), recipe)
    return round(losses.terms["rpn_box"].item(), 4)


def decays(conventions, name):
    model = tiny(conventions)
    groups = parameter_groups(model, OptimiserRecipe(weight_decay=0.5))
    parameter = model.get_parameter(name)
    return [g["weight_decay"] for g in groups if any(p is parameter for p in g["params"])]


# The cases


@dataclass(frozen=True, kw_only=True)
class Case:
    """One field: what each of its values gives where they differ, and all where they do not."""

    apart: Callable[[Conventions], object]
    expected: dict[object, object]
    same: Callable[[Conventions], object]
    common: object
    context: dict[str, object] | None = None


# 0 to 24 px are 1.5 cells. Bins of 0.75 cells read cell 0, and cells 0 and 1: 1 and 2. Samples lie
# at 0.375 and 1.125 cells, centres of cells at 0.5 and 1.5: 1 and 1 + 0.625 * 2. Covered are two
# cells. With whole cells all three read cells 0 and 1.
SAMPLING = Case(
    apart=lambda c: scored((0, 0, 24, 16), c, out_size=2),
    expected={"pool": 1.5, "align": 1.625, "native": 2.0},
    same=lambda c: scored((0, 0, 32, 16), c, out_size=2),
    common=2.0,
)

CASES = {
    "sampling": SAMPLING,
    # first pixel 16.4 is 16, last one 31.2 is 31: the box is cell 1 alone, and 1.03 to 2.01 else
    "round_rois": Case(
        apart=lambda c: scored((16.4, 0, 32.2, 16), c, out_size=1),
        expected={True: 3.0, False: 7.0},
        same=lambda c: scored((16, 0, 32, 16), c, out_size=1),
        common=3.0,
    ),
    # with one slot there are four channels; with two the second one is used
    "box_slots": Case(
        apart=lambda c: tiny(c).head.boxes.out_channels,
        expected={1: 4, 2: 8},
        same=lambda c: box_maps(c, second=5.0),
        common=[5.0] * 4,
    ),
    # 1 / sqrt(1e-5) and 1 / sqrt(2e-5), of the first layer alone
    "stem_eps": Case(
        apart=lambda c: stem(c, 0.0),
        expected={1e-5: [316.23, 316.23], 2e-5: [223.61, 316.23]},
        same=lambda c: stem(c, 4.0),
        common=[0.5, 0.5],
    ),
    # base 16 px, twice enlarged: sqrt(256 * 2) = 22.63 is 23, half of it 11.5 is 12
    "anchor_rounding": Case(
        apart=lambda c: np.round(anchors(c, 0.5), 4).tolist(),
        expected={True: [[46.0, 24.0]], False: [[45.2548, 22.6274]]},
        same=lambda c: anchors(c, 1.0),
        common=[[32.0, 32.0]],
    ),
    # 40 x 56 px hold 2 x 3 whole cells of 16 px, 48 x 64 px all of 3 x 4
    "proposal_grid": Case(
        apart=lambda c: on_grid(c, (40, 56)),
        expected={"whole-cells": 6, "full": 12},
        same=lambda c: on_grid(c, (48, 64)),
        common=12,
    ),
    # logits 3 over 2 and 1 over -3: the second one is the more probable
    "proposal_rank": Case(
        apart=lambda c: proposed(c, APART[:2], [[2, 3], [-3, 1]]),
        expected={"probability": APART[[1, 0]].tolist(), "logit": APART[:2].tolist()},
        same=lambda c: proposed(c, APART[:2], [[0, 1], [0, 3]]),
        common=APART[[1, 0]].tolist(),
        context=PLAIN,
    ),
    "pad_proposals": Case(
        apart=lambda c: proposed(c, APART, [3, 2, 1], post_nms=5),
        expected={True: APART[[0, 1, 2, 0, 1]].tolist(), False: APART.tolist()},
        same=lambda c: proposed(c, APART, [3, 2, 1], post_nms=3),
        common=APART.tolist(),
        context={"proposal_grid": "full"},
    ),
    # 40 px of a doubled image are 20 of the original
    "min_size_in_original": Case(
        apart=lambda c: len(proposed(c, APART, [3, 2, 1], scale=2.0, min_size=25.0)),
        expected={False: 3, True: 0},
        same=lambda c: len(proposed(c, APART, [3, 2, 1], scale=1.0, min_size=25.0)),
        common=3,
        context=PLAIN,
    ),
    "nms_at_equal": Case(
        apart=lambda c: suppressed(c, 0.5),
        expected={False: (2, 2), True: (1, 1)},
        same=lambda c: (suppressed(c, 0.4), suppressed(c, 0.6)),
        common=((2, 2), (1, 1)),
    ),
    # in the RPN, after the first pass, and in the original image
    "box_clip": Case(
        apart=lambda c: (
            proposed(c, boxes_of((-30, 4, -20, 8)), [1], size=(10, 20)),
            refined(c, -2.0),
            detected(c, (30, 2, 34, 8)),
        ),
        expected={
            "last-pixel": ([[0, 4, 1, 8]], [0, 0, 1, 8], [23, 2, 24, 8]),
            "edge": ([], [0, 0, 0, 8], None),
        },
        same=lambda c: (
            proposed(c, boxes_of((-30, 4, 5, 18)), [1], size=(10, 20)),
            refined(c, 0.5),
            detected(c, (18, 2, 34, 8)),
        ),
        common=([[0, 4, 5, 10]], [4, 0, 12, 8], [18, 2, 24, 8]),
        context=PLAIN,
    ),
    # the last pixel 23 of a doubled image is 11.5 of the original, rounded 12; the edge is 12
    "box_end": Case(
        apart=lambda c: detected(c, (8, 8, 24, 24), scale=2.0),
        expected={"last-pixel": [4, 4, 13, 13], "edge": [4, 4, 12, 12]},
        same=lambda c: detected(c, (8, 8, 24, 24)),
        common=[8, 8, 24, 24],
    ),
    # the last pixel 7.5 is 8, the edge 8.5 too; 3.2 to 3.4 is pixel 3, or nothing
    "box_rounding": Case(
        apart=lambda c: (detected(c, (2, 2, 8.5, 9)), detected(c, (3.2, 2, 3.4, 9))),
        expected={
            "last-pixel": ([2, 2, 9, 9], [3, 2, 4, 9]),
            "edge": ([2, 2, 8, 9], None),
        },
        same=lambda c: (detected(c, (2, 2, 8, 9)), detected(c, (2.3, 1.6, 8.3, 9.4))),
        common=([2, 2, 8, 9], [2, 2, 8, 9]),
    ),
    # detections: RoI 0 as 2, RoI 1 as 1; each votes on both, one by its background at best
    "mask_category": Case(
        apart=lambda c: pairs(c, [[0.1, 0.3, 0.6], [0.5, 0.4, 0.1]]),
        expected={
            "best-foreground": [(0, 2), (1, 1)],
            "best-any": [(0, 2), (1, 0)],
            "voted": [(0, 1), (0, 2), (1, 1), (1, 2)],
        },
        same=lambda c: pairs(c, [[0.1, 0.9, 0.0], [0.2, 0.8, 0.0]]),
        common=[(0, 1), (1, 1)],
    ),
    "assignment": Case(
        apart=lambda c: labels(c, [0.1, 0.3, 0.6]),
        expected={"each-category": [2, 1], "best-category": [2]},
        same=lambda c: labels(c, [0.1, 0.9, 0.0]),
        common=[1],
    ),
    # 0.45 and 0.1 are on and off at 0.4; halves of the weight each: 0.5, or 0.275
    "vote": Case(
        apart=lambda c: voted(c, [[[0.45]], [[0.1]]], [0.6, 0.6]),
        expected={"binary": 16, "probability": None},
        same=lambda c: (voted(c, [[[0.9]], [[0.8]]], [0.6, 0.6]), voted(c, [[[0.1]]], [0.6])),
        common=(16, None),
    ),
    # an L of 12 of 16 px; one sample in its middle is 3/4, which is enough for all 16
    "store_grid": Case(
        apart=lambda c: voted(c, [np.kron([[1, 0], [1, 1]], np.ones((2, 2)))], [0.6]),
        expected={True: 16, False: 12},
        same=lambda c: voted(c, [[[1, 1], [1, 1]]], [0.6]),
        common=16,
    ),
    # the second RoI votes against, at IoU 0.5; the first one has 0.8 / 1.5 = 0.53 of the weight
    "merge_at_equal": Case(
        apart=lambda c: voted(c, AGAINST, [0.8, 0.7], height=2.0, threshold=0.7),
        expected={True: None, False: 16},
        same=lambda c: (
            voted(c, AGAINST, [0.8, 0.7], height=1.0, threshold=0.7),
            voted(c, AGAINST, [0.8, 0.7], height=3.0, threshold=0.7),
        ),
        common=(16, None),
    ),
    "foreground_at_equal": Case(
        apart=lambda c: voted(c, [[[0.5]]], [0.6], threshold=0.5),
        expected={True: 16, False: None},
        same=lambda c: (
            voted(c, [[[0.51]]], [0.6], threshold=0.5),
            voted(c, [[[0.49]]], [0.6], threshold=0.5),
        ),
        common=(16, None),
    ),
    # votes for and against of the same weight; what is not stored is not concerned
    "stored_at_equal": Case(
        apart=lambda c: voted(c, AGAINST, [0.6, 0.6], threshold=0.5),
        expected={True: 16, False: None},
        same=lambda c: (
            voted(c, AGAINST, [0.7, 0.6], threshold=0.5),
            voted(replace(c, store_grid=False), AGAINST, [0.6, 0.6], threshold=0.5),
        ),
        common=(16, 16),
    ),
    # a quarter and three quarters of 10; halves to even
    "resize": Case(
        apart=lambda c: resized(c, 2.0),
        expected={"levels": [0, 2, 8, 10], "float": [0, 2.5, 7.5, 10]},
        same=lambda c: resized(c, 1.0),
        common=[0, 10],
    ),
    # 641 * 600 / 478 = 804.6; boxes are mapped back by the factor, or the ratio of the widths
    "size_rounding": Case(
        apart=lambda c: plan(c, (478, 641)),
        expected={
            "nearest": ((600, 805), [round(600 / 478, 6)] * 2),
            "down": ((600, 804), [round(804 / 641, 6)] * 2),
        },
        same=lambda c: plan(c, (480, 640)),
        common=((600, 800), [1.25, 1.25]),
    ),
    # two of four RoIs are positive: 2 * 0.5 / 4, ten times or once
    "mask_loss_weight": Case(
        apart=lambda c: head_losses(c, 2, planned=4),
        expected={10.0: [1, 2.5, 0.125], 1.0: [1, 0.25, 0.125]},
        same=lambda c: head_losses(c, 0, planned=4),
        common=[1, 0, 0],
    ),
    "negative_low": Case(
        apart=lambda c: chosen(c, [8, 2, 0.5]),
        expected={0.0: [(0.5, 0), (2, 0), (8, 1)], 0.1: [(2, 0), (8, 1)]},
        same=lambda c: chosen(c, [8, 2, 1.5]),
        common=[(1.5, 0), (2, 0), (8, 1)],
        context=DRAWN,
    ),
    "fill_negatives": Case(
        apart=lambda c: chosen(c, [8, 2], rois=4),
        expected={True: [(2, 0), (2, 0), (2, 0), (8, 1)], False: [(2, 0), (8, 1)]},
        same=lambda c: chosen(c, [8, 2], rois=2),
        common=[(2, 0), (8, 1)],
        context={"truth_as_rois": False},
    ),
    "positive_at_equal": Case(
        apart=lambda c: chosen(c, [5]),
        expected={True: [(5, 1)], False: [(5, 0)]},
        same=lambda c: chosen(c, [4, 6]),
        common=[(4, 0), (6, 1)],
        context=DRAWN,
    ),
    "truth_as_rois": Case(
        apart=lambda c: chosen(c, [2]),
        expected={True: [(2, 0), (10, 1)], False: [(2, 0)]},
        same=lambda c: chosen(c, [2], objects=False),
        common=[(2, 0)],
        context={"fill_negatives": False},
    ),
    # ten times 2 * 0.5, of four RoIs or of two positives
    "mask_loss_norm": Case(
        apart=lambda c: head_losses(c, 2, planned=4),
        expected={"rois": [1, 2.5, 0.125], "positives": [1, 5, 0.125]},
        same=lambda c: head_losses(c, 4, planned=4),
        common=[1, 5, 0.25],
    ),
    # of eight RoIs that there should be, or of the four that there are
    "loss_rois": Case(
        apart=lambda c: head_losses(c, 2, planned=8),
        expected={"planned": [1, 1.25, 0.0625], "actual": [1, 2.5, 0.125]},
        same=lambda c: head_losses(c, 2, planned=4),
        common=[1, 2.5, 0.125],
    ),
    # An object of 16 px covers four anchors of 8 px, each with IoU 1/4, and these are its best:
    # shifts of a half in x and y, growth ln 2. The smooth loss is |d| - 1/18 each; 16 anchors are
    # labelled, 64 there should be.
    "rpn_box_norm": Case(
        apart=lambda c: rpn_box_loss(c, (0, 0, 16, 16)),
        expected={
            "planned": round(8 * (0.5 + np.log(2) - 1 / 9) / 64, 4),
            "labelled": round(8 * (0.5 + np.log(2) - 1 / 9) / 16, 4),
        },
        same=lambda c: rpn_box_loss(c),
        common=0,
    ),
    "decay_biases": Case(
        apart=lambda c: (decays(c, "rpn.conv.bias"), decays(c, "backbone.bn1.bias")),
        expected={False: ([0.0], [0.0]), True: ([0.5], [0.5])},
        same=lambda c: (decays(c, "rpn.conv.weight"), decays(c, "backbone.bn1.weight")),
        common=([0.5], [0.5]),
    ),
}


def test_every_field_has_a_case():
    assert list(CASES) == FIELDS


@pytest.mark.parametrize("name", FIELDS)
def test_values_differ_where_they_should_and_nowhere_else(name):
    case, hint = CASES[name], get_type_hints(Conventions)[name]
    if get_origin(hint) is Literal:
        assert set(case.expected) == set(get_args(hint))
    elif hint is bool:
        assert set(case.expected) == {True, False}
    else:
        assert len(case.expected) > 1
    outcomes = list(case.expected.values())
    assert all(a != b for i, a in enumerate(outcomes) for b in outcomes[:i])
    base = replace(RELEASE, **(case.context or {}))
    for value, expected in case.expected.items():
        conventions = replace(base, **{name: value})
        assert case.apart(conventions) == expected, value
        assert case.same(conventions) == case.common, value
