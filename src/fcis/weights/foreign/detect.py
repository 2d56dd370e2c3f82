"""What a foreign weights file holds: its kind by its first bytes, its network by names and shapes.

Suffixes are not looked at, and nothing here reads an array.
"""

import math
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of
from fcis.recipe.types import BackboneRecipe
from fcis.weights.foreign.mapping import HEAD_LAYERS, NUMBERED_STAGES, STEM_BIAS
from fcis.weights.foreign.transforms import box_layout

Origin = Literal["release", "chainercv", "torch"]
Shapes = Mapping[str, tuple[int, ...]]

_LIST_MAGIC = struct.pack("<QQ", 0x112, 0)  # MXNet's list of arrays (reference: 9)
_ZIP, _PICKLE = (b"PK\x03\x04", b"PK\x05\x06"), b"\x80"
_KINDS = "an MXNet .params, a Chainer .npz, or a PyTorch .pth or .safetensors file"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadShape:
    """Sizes of RPN and score maps.

    Attributes:
        rpn_channels: of the RPN's 3x3 convolution.
        num_anchors: a cell.
        reduction: channels of the 1x1 convolution on conv5.
        k: a RoI has k x k parts.
        box_slots: sets of k*k*4 box maps.
        num_classes: categories, background aside.
    """

    rpn_channels: int
    num_anchors: int
    reduction: int
    k: int
    box_slots: Literal[1, 2]
    num_classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The network that a file's names and shapes are of.

    Attributes:
        origin: whose names they are; `release` stands for its ImageNet weights too.
        backbone: with the geometry that belongs to the origin.
        head: None for a classifier's file, of which the backbone alone is used.
        stem_bias: the first convolution has a bias.
    """

    origin: Origin
    backbone: BackboneRecipe
    head: HeadShape | None
    stem_bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """How an origin calls the arrays from which sizes are read.

    Attributes:
        conv1: weight of the first convolution.
        first: weight of the first convolution of a stage (2 .. 5) or layer (1 .. 4).
        block: pattern whose groups are the stage or layer and the block.
        offset: from layers to what `first` and `block` count.
        example: what a name looks like, for people.
    """

    conv1: str
    first: str
    block: str
    offset: int
    example: str


_NAMES: dict[Origin, _Names] = {
    "release": _Names(
        conv1="arg:conv1_weight",
        first="arg:res{}a_branch2a_weight",
        block=r"(?:arg:res|arg:bn|aux:bn)([2-5])([a-z]\d*)_branch",
        offset=1,
        example="arg:res2a_branch2a_weight",
    ),
    "chainercv": _Names(
        conv1="extractor/conv1/conv/W",
        first="extractor/res{}/a/conv1/conv/W",
        block=r"extractor/res([2-5])/(a|b\d+)/",
        offset=1,
        example="extractor/res2/a/conv1/conv/W",
    ),
    "torch": _Names(
        conv1="conv1.weight",
        first="layer{}.0.conv1.weight",
        block=r"layer([1-4])\.(\d+)\.",
        offset=0,
        example="layer1.0.conv1.weight",
    ),
}


def detect_origin(path: Path) -> Origin:
    """Return whose kind of file it is.

    Raises:
        InputError: it cannot be read, or is of no known kind.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if start == _LIST_MAGIC:
            return "release"
        if start.startswith(_ZIP):
            with guarded(partial(_damaged, path)), zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if any(name.endswith("/data.pkl") for name in names):
                return "torch"
            if any(name.endswith(".npy") for name in names):
                return "chainercv"
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give {_KINDS}") from None
    # safetensors begins with the length of its JSON header
    if start.startswith(_PICKLE) or start[8:9] == b"{":
        return "torch"
    raise InputError(f"{path}: no known kind of weights; give {_KINDS}")


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: a damaged zip file ({reason_of(error)}); fetch it anew")


def find_architecture(shapes: Shapes, origin: Origin, where: str) -> Architecture:
    """Return the network that arrays of these names and shapes belong to.

    What does not fit the result may be among them.

    Args:
        shapes: of every array in the file, by name.
        origin: whose kind of file it is.
        where: what error messages begin with.

    Raises:
        InputError: the names are of another network, or a size cannot be read off.
    """
    _refuse_relatives(shapes, where)
    names = _NAMES[origin]
    blocks: dict[int, set[str]] = {layer: set() for layer in range(1, 5)}
    for name in shapes:
        match = re.match(names.block, name)
        if match:
            blocks[int(match[1]) - names.offset].add(match[2])
    first, *others = (len(found) for found in blocks.values())
    depths = (first, others[0], others[1], others[2])
    if min(depths) == 0:
        raise InputError(
            f"{where}: its arrays are not those of a ResNet that can be converted (there is no "
            f"{names.example}, or another stage is missing)"
        )
    if origin == "release" and depths not in NUMBERED_STAGES:
        raise InputError(
            f"{where}: has {_listed(depths)} blocks in its stages, expected those of ResNet-50, "
            f"-101 or -152 ({'; '.join(map(_listed, NUMBERED_STAGES))}); is the file complete?"
        )
    firsts = [names.first.format(layer + names.offset) for layer in range(1, 5)]
    widths = [_out_channels(shapes, name, where) for name in firsts]
    basic = origin == "torch" and not any(re.match(r"layer\d\.\d+\.conv3", n) for n in shapes)
    backbone = BackboneRecipe(
        depths=depths,
        widths=(widths[0], widths[1], widths[2], widths[3]),
        block="basic" if basic else "bottleneck",
        variant="modern" if origin == "torch" else "v1",
        stem_width=_out_channels(shapes, names.conv1, where),
    )
    return Architecture(
        origin=origin,
        backbone=backbone,
        head=_head_shape(shapes, origin, where),
        stem_bias=origin == "release" and STEM_BIAS in shapes,
    )


def _refuse_relatives(shapes: Shapes, where: str) -> None:
    """Name the files that users may well have and that cannot be converted."""
    if "extractor/res1/conv1/W" in shapes or any(n.startswith("head/psroi_conv") for n in shapes):
        raise InputError(
            f"{where}: has the names of knorth55/chainer-fcis, whose box maps may have the box "
            "stds folded in, which the file does not say; convert the release's .params or "
            "ChainerCV's .npz instead"
        )
    if "arg:fcis_bbox_weight_test" in shapes and "arg:fcis_bbox_weight" not in shapes:
        raise InputError(
            f"{where}: has arg:fcis_bbox_weight_test, into which the box stds are folded, but not "
            "the plain arg:fcis_bbox_weight that is needed; convert the checkpoint as training "
            "wrote it"
        )
    if "0" in shapes:
        raise InputError(f"{where}: its arrays have no names; save them with names")
    if any(n.startswith(("rpn.", "head.", "backbone.")) for n in shapes):
        raise InputError(
            f"{where}: is a weights file of fcis already; use it as it is, or add --half for a "
            "smaller one"
        )
    if "arg:stage1_unit1_bn1_gamma" in shapes:
        raise InputError(
            f"{where}: is MXNet's pre-activation ResNet, another network than the release's; "
            "take resnet_v1_101-0000.params, or a state dict of torchvision"
        )


def _head_shape(shapes: Shapes, origin: Origin, where: str) -> HeadShape | None:
    """Return the sizes of RPN and score maps, or None if there is nothing of them."""
    if origin == "torch":
        return None
    column, form = (0, "arg:{}_{}") if origin == "release" else (1, "{}/{}")
    array = "weight" if origin == "release" else "W"
    layers = {ours: str(theirs[column]) for ours, theirs in HEAD_LAYERS.items()}
    # ChainerCV has no files of backbones alone
    beginnings = tuple(form.format(theirs, "") for theirs in layers.values())
    if origin == "release" and not any(name.startswith(beginnings) for name in shapes):
        return None
    sizes = {
        ours: _out_channels(shapes, form.format(theirs, array), where)
        for ours, theirs in layers.items()
    }
    try:
        slots, k = box_layout(sizes["head.boxes"])
    except ValueError:
        raise InputError(
            f"{where}: has {sizes['head.boxes']} box maps, expected 4 k^2 or 8 k^2"
        ) from None
    classes, rest = divmod(sizes["head.classes"], 2 * k**2)
    if rest or classes < 2:
        raise InputError(
            f"{where}: has {sizes['head.classes']} score maps, expected 2 k^2 for each category "
            f"and for the background, where the box maps make k {k}"
        )
    return HeadShape(
        rpn_channels=sizes["rpn.conv"],
        num_anchors=sizes["rpn.scores"] // 2,
        reduction=sizes["head.reduction"],
        k=k,
        box_slots=2 if slots == 2 else 1,
        num_classes=classes - 1,
    )


def _out_channels(shapes: Shapes, name: str, where: str) -> int:
    """Return the first side of a convolution's weight."""
    if name not in shapes:
        raise InputError(f"{where}: {name} is missing; is the file complete?")
    shape = shapes[name]
    if len(shape) != 4 or math.prod(shape) == 0:
        raise InputError(f"{where}: {name} is {shape}, expected the weight of a convolution")
    return shape[0]


def _listed(depths: tuple[int, ...]) -> str:
    return ", ".join(map(str, depths))
