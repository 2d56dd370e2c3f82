"""Each stage that a convention has a say in: a small function that runs it on hand-made input."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from fcis.inference.preprocess import Resize, plan_resize, prepare
from fcis.model.fcis import FCIS
from fcis.model.joint import score_rois
from fcis.model.rpn import find_proposals
from fcis.model.voting import select, vote, voting_pairs
from fcis.recipe.conventions import with_conventions
from fcis.recipe.named import named_recipe
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
from fcis.structures import INSIDE, Features, ImageBatch, MaskGrids, Proposals, RPNOutput, ScoreMaps
from fcis.training.batch import ObjectMask, Sample, Truth, collate_samples
from fcis.training.losses import RoILosses, compute_losses, image_losses
from fcis.training.optim import parameter_groups
from fcis.training.targets import RoITargets, roi_targets


def boxes_of(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def tiny(conventions):
    """A network of one category with one part and four samples a side."""
    recipe = replace(
        named_recipe("tiny").model,
        class_names=("thing",),
        category_ids=(1,),
        head=HeadRecipe(reduction=4, k=1, out_size=4),
        detection=DetectionRecipe(drop_size=0.1),
    )
    torch.manual_seed(0)
    return FCIS(with_conventions(recipe, conventions))


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
    recipe = with_conventions(ModelRecipe(head=HeadRecipe(k=1, out_size=out_size)), conventions)
    scores = score_rois(maps, boxes_of(box), torch.tensor([0]), recipe)
    return scores.class_logits.item()


def box_maps(conventions, *, second):
    """Channels of the box branch, and what it puts out where slots hold 1 and `second`."""
    head = tiny(conventions).head
    slots = torch.tensor([1.0, second])[-conventions["box_slots"] :]
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
    slim = BackboneRecipe(depths=(1, 1, 1, 1), widths=(4, 4, 4, 4))
    recipe = replace(tiny(conventions).recipe, backbone=with_conventions(slim, conventions))
    backbone = FCIS(recipe).backbone
    found = []
    for norm in (backbone.bn1, backbone.get_submodule("layer1.0.bn1")):
        norm.get_buffer("running_var").fill_(variance)
        ones = torch.ones(1, len(norm.get_buffer("running_var")), 1, 1)
        found.append(norm(ones).flatten()[0].item())
    return [round(value, 2) for value in found]


def anchors(conventions, ratio):
    rpn = RPNRecipe(channels=4, anchor_sizes=(32.0,), anchor_ratios=(ratio,))
    recipe = replace(tiny(conventions).recipe, rpn=with_conventions(rpn, conventions))
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
    rpn = with_conventions(RPNRecipe(**{"min_size": 0.1, **recipe}), conventions)
    return find_proposals(output, sizes, scales, rpn).boxes.tolist()


PLAIN = {"proposal_grid": "full", "pad_proposals": False}
APART = boxes_of((0, 0, 40, 40), (100, 0, 140, 40), (200, 0, 240, 40))


def on_grid(conventions, size):
    """How many of 3 x 4 cells propose."""
    y, x = torch.meshgrid(torch.arange(3.0) * 16, torch.arange(4.0) * 16, indexing="ij")
    corners = torch.stack([x, y], dim=-1)[:, :, None]
    boxes = torch.cat([corners, corners + 4], dim=-1)
    unpadded = {**conventions, "pad_proposals": False}
    return len(proposed(unpadded, boxes, list(range(12)), size=size))


def suppressed(conventions, share):
    """How many of two boxes remain, of which one covers a share of the other: RPN and head."""
    pair = boxes_of((0, 0, 10, 10), (0, 0, 10, 10 * share))
    first = len(proposed({**conventions, **PLAIN}, pair, [2, 1], nms=0.5))
    probabilities = torch.tensor([[0.1, 0.9], [0.2, 0.8]])
    recipe = with_conventions(DetectionRecipe(nms=0.5), conventions)
    return first, len(select(pair, probabilities, recipe).rois)


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
    model, probabilities = tiny(conventions), torch.tensor([[0.1, 0.9]])
    read = partial(model.mask_grids, maps, 0)
    found = model.assemble_instances(boxes_of(box), probabilities, batch.frame(0), read)
    return found.boxes[0].tolist() if len(found) else None


def pairs(conventions, rows):
    """The RoIs and categories whose masks are needed, of RoIs in one place."""
    probabilities = torch.tensor(rows)
    boxes = boxes_of((0, 0, 10, 10)).repeat(len(rows), 1)
    recipe = with_conventions(DetectionRecipe(), conventions)
    selection = select(boxes, probabilities, recipe)
    rois, classes, _ = voting_pairs(selection, probabilities, recipe)
    return sorted(zip(rois.tolist(), classes.tolist(), strict=True))


def labels(conventions, row):
    recipe = with_conventions(DetectionRecipe(), conventions)
    found = select(boxes_of((0, 0, 9, 9)), torch.tensor([row]), recipe)
    return found.labels.tolist()


def voted(conventions, values, scores, *, threshold=0.4, grid_size=1, height=4.0):
    """The mask of the best of two RoIs, the second `height` of 4 px high; None for no mask."""
    boxes = boxes_of((0, 0, 4, 4), (0, 0, 4, height))[: len(scores)]
    probabilities = torch.tensor([[1 - s, s] for s in scores])
    recipe = with_conventions(DetectionRecipe(mask_threshold=threshold), conventions)
    selection = select(boxes, probabilities, recipe)
    rois, _, grid_of = voting_pairs(selection, probabilities, recipe)
    values = torch.from_numpy(np.array(values, dtype=np.float32))
    grids = MaskGrids(
        values=values[rois],
        shapes=torch.tensor([values.shape[1:]]).expand(len(rois), 2),
        extents=boxes[:1].expand(len(rois), 4),
    )
    windows = boxes[:1].long().expand(len(rois), 4)
    (crop, *_), _ = vote(selection, grids, windows, grid_of, recipe, grid_size=grid_size)
    return None if crop is None else crop.bits.sum().item()


AGAINST = [[[1.0]], [[0.0]]]


def resized(conventions, zoom):
    settings = Preprocessing(short_side=0, long_side=0, zoom=zoom, mean=(0.0,) * 3, std=(1.0,) * 3)
    image = np.array([[0, 10], [0, 10]], dtype=np.uint8)[:, :, None].repeat(3, axis=2)
    pixels, _ = prepare(image, with_conventions(settings, conventions))
    return pixels[0, 0].tolist()


def plan(conventions, size):
    found = plan_resize(size, with_conventions(Preprocessing(), conventions))
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
    targets = TargetRecipe(rois=rois, ohem=False, positive_fraction=fraction)
    recipe, stds = with_conventions(targets, conventions), (0.2, 0.2, 0.5, 0.5)
    found = roi_targets(proposals, [truth], recipe, stds, [torch.Generator()])
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
    recipe = with_conventions(replace(base, training=training), conventions)
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
    recipe = with_conventions(recipe, conventions)
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
    recipe = with_conventions(OptimiserRecipe(weight_decay=0.5), conventions)
    groups = parameter_groups(model, recipe)
    parameter = model.get_parameter(name)
    return [g["weight_decay"] for g in groups if any(p is parameter for p in g["params"])]
