"""Where the network's arrays are in other files: data for converters, no arrays, no files.

In the release's files every array has our shape, layout and channel order; only the name differs.
The same holds for the backbone's arrays in ChainerCV's files; some of the others have another
order there, which a transform changes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fcis.weights.foreign.transforms import (
    Transform,
    as_is,
    background_scores_first,
    mean_less_bias,
    x_first_in_anchors,
    x_first_in_box_maps,
)

# Conv2d and norm of a block -> the release's branch and ChainerCV's link
PARTS = {
    ("conv1", "bn1"): ("branch2a", "conv1"),
    ("conv2", "bn2"): ("branch2b", "conv2"),
    ("conv3", "bn3"): ("branch2c", "conv3"),
    ("downsample.0", "downsample.1"): ("branch1", "residual_conv"),
}

# Our layer, with a weight and a bias -> the release's layer, ChainerCV's, and how ours is made of
# the latter (ChainerCV: examples/fcis/mxnet2npz.py:62-156 @7159616; reference: 8.4)
HEAD_LAYERS: dict[str, tuple[str, str, Transform]] = {
    "rpn.conv": ("rpn_conv_3x3", "rpn/conv1", as_is),
    "rpn.scores": ("rpn_cls_score", "rpn/score", background_scores_first),
    "rpn.deltas": ("rpn_bbox_pred", "rpn/loc", x_first_in_anchors),
    "head.reduction": ("conv_new_1", "head/conv1", as_is),
    "head.classes": ("fcis_cls_seg", "head/cls_seg", as_is),
    "head.boxes": ("fcis_bbox", "head/ag_loc", x_first_in_box_maps),
}

# our name of a norm's array -> kind in an MXNet file, the release's name, ChainerCV's name
NORM_ARRAYS = {
    "weight": ("arg", "gamma", "gamma"),
    "bias": ("arg", "beta", "beta"),
    "running_mean": ("aux", "moving_mean", "avg_mean"),
    "running_var": ("aux", "moving_var", "avg_var"),
}

# Names that may be left out, and why; the file's other names must all be taken
RELEASE_SPARE = {
    r"arg:fcis_bbox_(weight|bias)_test": "the box stds are folded in; the network applies them",
    r"arg:fc\d*_(weight|bias)": "ImageNet classifier",
    r"arg:(data|im_info|gt_boxes|gt_masks|(\w+_)?label)": "input of the network, not a weight",
}
CHAINERCV_SPARE = {r"extractor/.+/bn/N": "counter of batches"}
TORCH_SPARE = {
    r".+\.num_batches_tracked": "counter of batches",
    r"fc\.(weight|bias)": "ImageNet classifier",
}

# The bias that the first convolution of Caffe's ResNet-50 has, and no other
STEM_BIAS = "arg:conv1_bias"

# Stages whose blocks are numbered (a, b1, b2, ...); in all others they are lettered (a, b, c, ...)
NUMBERED_STAGES: dict[tuple[int, ...], tuple[int, ...]] = {
    (3, 4, 6, 3): (),
    (3, 4, 23, 3): (3, 4),
    (3, 8, 36, 3): (3, 4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One array of ours and what it is made of.

    Attributes:
        target: name in the whole model.
        sources: names in the file, in the order of the transform's parameters.
        transform: makes the one of the others.
    """

    target: str
    sources: tuple[str, ...]
    transform: Transform = as_is


def release_moves(
    depths: Sequence[int], *, head: bool, stem_bias: bool = False
) -> tuple[Move, ...]:
    """Return how the arrays come from a file of the release or of its ImageNet weights.

    Args:
        depths: blocks of conv2_x .. conv5_x, as `official_names` takes them.
        head: with RPN and score maps.
        stem_bias: the first convolution has a bias.

    Raises:
        ValueError: the release has no names for these depths.
    """
    moves = []
    for ours, theirs in official_names(depths).items():
        if stem_bias and ours == "bn1.running_mean":
            sources = (theirs, STEM_BIAS)
            moves.append(Move(target="backbone." + ours, sources=sources, transform=mean_less_bias))
        else:
            moves.append(Move(target="backbone." + ours, sources=(theirs,)))
    if head:
        moves += [Move(target=o, sources=(t,)) for o, t in official_head_names().items()]
    return tuple(moves)


def chainercv_moves(depths: Sequence[int]) -> tuple[Move, ...]:
    """Return how the arrays come from a file of ChainerCV's FCIS."""
    moves = [
        Move(target="backbone." + ours, sources=(theirs,))
        for ours, theirs in chainercv_names(depths).items()
    ]
    moves += [
        Move(target=f"{ours}.{array}", sources=(f"{theirs}/{letter}",), transform=transform)
        for ours, (_, theirs, transform) in HEAD_LAYERS.items()
        for array, letter in (("weight", "W"), ("bias", "b"))
    ]
    return tuple(moves)


def torch_moves(targets: Iterable[str]) -> tuple[Move, ...]:
    """Return how the backbone's arrays of these names come from a state dict of torchvision."""
    return tuple(Move(target=t, sources=(t.removeprefix("backbone."),)) for t in targets)


def official_names(depths: Sequence[int]) -> dict[str, str]:
    """Return the name of each backbone array in the release's MXNet files, by our name.

    The names carry MXNet's prefix, `arg:` for learned arrays and `aux:` for statistics.

    Args:
        depths: blocks of conv2_x .. conv5_x; the release names ResNet-50, -101 and -152.

    Raises:
        ValueError: the release has no names for these depths.

    Official: symbols/resnet_v1_101_fcis.py:29-683 @309f6c9 (reference: 8.1, 8.2).
    """
    if tuple(depths) not in NUMBERED_STAGES:
        raise ValueError(
            f"depths: expected one of {list(NUMBERED_STAGES)}, which the release names, "
            f"got {tuple(depths)}"
        )
    numbered = NUMBERED_STAGES[tuple(depths)]
    names = {"conv1.weight": "arg:conv1_weight"}
    for array, (kind, word, _) in NORM_ARRAYS.items():
        names[f"bn1.{array}"] = f"{kind}:bn_conv1_{word}"
    for stage, number, (conv, norm), (branch, _) in _parts(depths):
        letter = "abcdefghij"[number] if stage not in numbered else f"b{number}" if number else "a"
        block = f"layer{stage - 1}.{number}"
        names[f"{block}.{conv}.weight"] = f"arg:res{stage}{letter}_{branch}_weight"
        for array, (kind, word, _) in NORM_ARRAYS.items():
            names[f"{block}.{norm}.{array}"] = f"{kind}:bn{stage}{letter}_{branch}_{word}"
    return names


def official_head_names() -> dict[str, str]:
    """Return the name of each array of RPN and head in the release's files, by our name.

    Ours are names of the whole model, theirs carry `arg:`. A file may hold two arrays more,
    `fcis_bbox_weight_test` and `fcis_bbox_bias_test`, which must not be loaded: the box stds are
    folded into them, and the network applies these itself.

    Official: symbols/resnet_v1_101_fcis.py:685-693, 788-797; fcis/core/callback.py:53-64 @309f6c9
    (reference: 4.5, 8.1).
    """
    return {
        f"{ours}.{array}": f"arg:{theirs}_{array}"
        for ours, (theirs, _, _) in HEAD_LAYERS.items()
        for array in ("weight", "bias")
    }


def chainercv_names(depths: Sequence[int]) -> dict[str, str]:
    """Return the key of each backbone array in ChainerCV's npz files, by our name.

    Args:
        depths: blocks of conv2_x .. conv5_x.

    ChainerCV: experimental/links/model/fcis/fcis_resnet101.py:219-233 @7159616 (reference: 8.3).
    """
    names = {"conv1.weight": "extractor/conv1/conv/W"}
    for array, (_, _, word) in NORM_ARRAYS.items():
        names[f"bn1.{array}"] = f"extractor/conv1/bn/{word}"
    for stage, number, (conv, norm), (_, link) in _parts(depths):
        block = f"layer{stage - 1}.{number}"
        path = f"extractor/res{stage}/{f'b{number}' if number else 'a'}/{link}"
        names[f"{block}.{conv}.weight"] = f"{path}/conv/W"
        for array, (_, _, word) in NORM_ARRAYS.items():
            names[f"{block}.{norm}.{array}"] = f"{path}/bn/{word}"
    return names


def _parts(
    depths: Sequence[int],
) -> Iterator[tuple[int, int, tuple[str, str], tuple[str, str]]]:
    """Yield stage (2 .. 5), block number and names of every convolution with its norm."""
    for stage, depth in enumerate(depths, start=2):
        for number in range(depth):
            for ours, theirs in PARTS.items():
                # only the first block of a stage has a projection
                if number == 0 or ours[0] != "downsample.0":
                    yield stage, number, ours, theirs
