"""The region proposal network on conv4, and the way from its output to proposals.

Knows features, anchors and boxes; nothing of categories or masks.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import nms

from fcis.core.boxes import clip_boxes, decode_boxes, large_enough
from fcis.recipe.types import RPNRecipe
from fcis.structures import Features, Proposals, RPNOutput

_BASE = 16.0  # side of the release's base anchor, px
_INIT_STD = 0.01  # reference: 6.7


def anchor_shapes(recipe: RPNRecipe, *, rounding: bool) -> Float[Tensor, "anchor 2"]:
    """Return (width, height) of the anchors, ratio by ratio and size by size within a ratio.

    With `rounding` the sides of the 16 px base anchor are whole before they are scaled, as the
    release has it: ratio 0.5 gives 23 x 12 instead of 22.6 x 11.3.

    Official: lib/rpn/generate_anchor.py:35-85 @309f6c9.
    """
    ratios = torch.tensor(recipe.anchor_ratios, dtype=torch.float64)
    width = _BASE / ratios.sqrt()
    height = _BASE * ratios.sqrt()
    if rounding:
        width = width.round()
        height = (width * ratios).round()
    base = torch.stack([width, height], dim=1)
    scales = torch.tensor(recipe.anchor_sizes, dtype=torch.float64) / _BASE
    return (base[:, None] * scales[None, :, None]).reshape(-1, 2).float()


def anchor_grid(
    shapes: Float[Tensor, "anchor 2"], rows: int, columns: int, stride: int
) -> Float[Tensor, "h w anchor 4"]:
    """Return all anchors, centred on the cells of a grid."""
    x = (torch.arange(columns, device=shapes.device) + 0.5) * stride
    y = (torch.arange(rows, device=shapes.device) + 0.5) * stride
    centre = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[:, :, None]
    return torch.cat([centre - shapes / 2, centre + shapes / 2], dim=-1)


class RPN(nn.Module):
    """A 3x3 convolution on conv4, then object scores and box shifts of every anchor.

    Paper: 2.3. Official: symbols/resnet_v1_101_fcis.py:685-693 @309f6c9, whose order of
    channels the weights keep: scores (background or object, anchor), deltas (anchor, 4).
    """

    def __init__(self, channels: int, *, recipe: RPNRecipe) -> None:
        super().__init__()
        shapes = anchor_shapes(recipe, rounding=recipe.anchor_rounding)
        self.register_buffer("anchor_shapes", shapes, persistent=False)
        self.conv = nn.Conv2d(channels, recipe.channels, 3, padding=1)
        self.scores = nn.Conv2d(recipe.channels, 2 * len(shapes), 1)
        self.deltas = nn.Conv2d(recipe.channels, 4 * len(shapes), 1)
        for layer in (self.conv, self.scores, self.deltas):
            nn.init.normal_(layer.weight, std=_INIT_STD)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: Features) -> RPNOutput:
        """Return scores and shifts of every anchor of every cell."""
        hidden = functional.relu(self.conv(features.c4))
        shapes = self.get_buffer("anchor_shapes")
        _, _, h, w = hidden.shape
        scores, deltas = self.scores(hidden), self.deltas(hidden)
        return RPNOutput(
            logits=scores.unflatten(1, (2, len(shapes))).permute(0, 3, 4, 2, 1),
            deltas=deltas.unflatten(1, (len(shapes), 4)).permute(0, 3, 4, 1, 2),
            anchors=anchor_grid(shapes, h, w, features.stride),
            cells=features.cells,
            stride=features.stride,
        )


def find_proposals(
    output: RPNOutput,
    sizes: Float[Tensor, "image 2"],
    scales: Float[Tensor, "image 2"],
    recipe: RPNRecipe,
) -> Proposals:
    """Return the best proposals of each image, best first; boxes carry the deltas' gradient.

    Args:
        output: the network's output.
        sizes: (height, width) of the resized images.
        scales: resized over original size.
        recipe: how many to keep, from which size on, and by which conventions.

    An image where none is large enough has no proposals, padded or not.

    Paper: 2.3. Official: fcis/operator_py/proposal.py:38-134 @309f6c9, which pads with random
    survivors; here they are repeated in turn.
    """
    boxes, scores, image = [], [], []
    for i in range(len(sizes)):
        rows, columns = output.cells[i].tolist()
        if recipe.proposal_grid == "whole-cells":
            rows = max(1, min(rows, int(sizes[i, 0]) // output.stride))
            columns = max(1, min(columns, int(sizes[i, 1]) // output.stride))
        window = (slice(0, rows), slice(0, columns))
        found = decode_boxes(output.anchors[window], output.deltas[i][window]).reshape(-1, 4)
        found = clip_boxes(
            found.float(),
            sizes[i].to(found).expand(len(found), 2),
            keep_pixel=recipe.box_clip == "last-pixel",
        )
        logits = output.logits[i][window].detach().float().reshape(-1, 2)
        score = (logits[:, 1] - logits[:, 0]).sigmoid()  # the softmax of two
        side = recipe.min_size
        if recipe.min_size_in_original:
            side *= float(scales[i].mean())
        keep = large_enough(found, side)
        rank = score if recipe.proposal_rank == "probability" else logits[:, 1]
        order = keep.nonzero()[:, 0]
        before, after = numbers_kept(recipe, sizes[i])
        order = order[rank[order].argsort(descending=True, stable=True)[:before]]
        found, score, rank = found[order], score[order], rank[order]
        keep = suppress(found.detach(), rank, recipe.nms, at_equal=recipe.nms_at_equal)
        keep = keep[:after]
        if recipe.pad_proposals and 0 < len(keep) < after:
            keep = keep[torch.arange(after, device=keep.device) % len(keep)]
        boxes.append(found[keep])
        scores.append(score[keep])
        image.append(torch.full((len(keep),), i, device=keep.device))
    return Proposals(
        boxes=torch.cat(boxes), image_index=torch.cat(image), objectness=torch.cat(scores)
    )


def numbers_kept(recipe: RPNRecipe, size: Float[Tensor, "2"]) -> tuple[int, int]:
    """Return how many proposals an image of (height, width) keeps before and after suppression.

    An image of at most `nms_area` pixels keeps `pre_nms` and `post_nms`, a larger one more in
    proportion: objects of one size are as dense in it.
    """
    share = 1.0
    if recipe.nms_area > 0:
        share = max(1.0, float(size[0]) * float(size[1]) / recipe.nms_area)
    return round(share * recipe.pre_nms), round(share * recipe.post_nms)


def suppress(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], threshold: float, *, at_equal: bool
) -> Int[Tensor, " kept"]:
    """Return the indices that non-maximum suppression keeps, best first.

    Without boxes the result is empty.

    Args:
        boxes: any frame; compared in float32.
        scores: the higher one of two wins; equal ones in the order given.
        threshold: IoU above which the lower box goes.
        at_equal: it goes at exactly the threshold too.
    """
    # torchvision compares a float32 IoU with a float64 threshold, and suppresses above it only
    limit = torch.tensor(threshold, dtype=torch.float32)
    if at_equal:
        limit = torch.nextafter(limit, torch.zeros(()))
    return nms(boxes.float(), scores.float(), limit.item())
