"""Weights of the release, of ChainerCV and of ImageNet classifiers -> a weights file of fcis.

Every array of the source is accounted for: it is taken, or left out for a reason that the mapping
names; anything else is refused, and so is anything missing.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fcis.core.errors import InputError
from fcis.model.backbones import build_backbone
from fcis.model.fcis import FCIS
from fcis.weights.foreign.chainer import read_chainer
from fcis.weights.foreign.describe import Description, describe
from fcis.weights.foreign.detect import Architecture, Origin, detect_origin, find_architecture
from fcis.weights.foreign.mapping import (
    CHAINERCV_SPARE,
    RELEASE_SPARE,
    TORCH_SPARE,
    Move,
    chainercv_moves,
    release_moves,
    torch_moves,
)
from fcis.weights.foreign.params import read_params
from fcis.weights.foreign.state_dict import read_state_dict
from fcis.weights.foreign.transforms import box_layout
from fcis.weights.weights_file import save_weights

Arrays = Mapping[str, np.ndarray]

_STDS_TOLERANCE = 0.01  # relative; wide enough for float16
_DIGEST = 16  # hexadecimal digits

_READERS: dict[Origin, Callable[[Path], dict[str, np.ndarray]]] = {
    "release": read_params,
    "chainercv": read_chainer,
    "torch": read_state_dict,
}
_KINDS: dict[Origin, str] = {
    "release": "MXNet, names of the 2017 release",
    "chainercv": "Chainer, names of ChainerCV",
    "torch": "PyTorch, names of torchvision and timm",
}
_SPARE: dict[Origin, dict[str, str]] = {
    "release": RELEASE_SPARE,
    "chainercv": CHAINERCV_SPARE,
    "torch": TORCH_SPARE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayRecord:
    """What became of one array of the source.

    Attributes:
        source: its name.
        target: what it went into; empty if it was left out.
        transform: how, in words; empty if it was left out.
        reason: why it was left out; empty if it was taken.
        dtype: of the source.
        shape: of source and target.
        digest: beginning of the SHA-256 of the target's float32 values, row by row.
    """

    source: str
    target: str = ""
    transform: str = ""
    reason: str = ""
    dtype: str
    shape: tuple[int, ...]
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A network out of a foreign file, and how it came about.

    Attributes:
        module: the whole model, or a backbone alone as the part `backbone` of one.
        kind: of the source, for people.
        description: of the network.
        arrays: one record for every array of the source, in its order.
    """

    module: nn.Module
    kind: str
    description: Description
    arrays: tuple[ArrayRecord, ...]


def convert_file(source: Path, target: Path, *, conventions: str | None = None) -> Conversion:
    """Write a weights file of fcis from a foreign one; the target is complete or not there.

    Args:
        source: MXNet `.params` of the release, `.npz` of ChainerCV's FCIS, or an ImageNet ResNet:
            the release's `.params`, a state dict of torchvision or timm.
        target: the weights file.
        conventions: `release`, `chainercv` or `paper`; without a name, those that the source was
            trained for as far as it can be told.

    Raises:
        InputError: the source is damaged or not one of these, an array is missing, left over, not
            finite or of another shape, or the target cannot be written.
    """
    origin = detect_origin(source)
    conversion = convert_arrays(_READERS[origin](source), origin, source, conventions=conventions)
    save_weights(target, conversion.module, conversion.description.info)
    return conversion


def convert_arrays(
    arrays: Arrays, origin: Origin, source: Path, *, conventions: str | None = None
) -> Conversion:
    """Return the network that the arrays of a foreign file are of.

    Args:
        arrays: of the file, by name; not copied where they are taken as they are.
        origin: whose kind of file it is.
        source: the file; its name says what its arrays do not.
        conventions: as `convert_file` takes them.

    Raises:
        InputError: an array is missing, left over, not finite or of another shape, or the network
            is none that can be converted.
    """
    where = str(source)
    shapes = {name: array.shape for name, array in arrays.items()}
    architecture = find_architecture(shapes, origin, where)
    description = describe(architecture, source, conventions)
    model = description.info.model
    with torch.device("meta"):
        if architecture.head is None:
            module: nn.Module = nn.ModuleDict({"backbone": build_backbone(model.backbone)})
        else:
            module = FCIS(model)
    expected = {
        name: value.shape
        for name, value in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    moves = _moves(architecture, expected)
    spare = account(shapes, moves, _SPARE[origin], where)
    if architecture.head is not None and origin == "release":
        check_box_stds(arrays, model.head.box_stds, where)
    state, records = {}, {}
    for move in moves:
        array = _take(arrays, move, tuple(expected[move.target]), where)
        state[move.target] = torch.from_numpy(array)
        for name in move.sources:
            records[name] = ArrayRecord(
                source=name,
                target=move.target,
                transform=move.transform.__name__.replace("_", " "),
                dtype=str(arrays[name].dtype),
                shape=arrays[name].shape,
                digest=hashlib.sha256(array.data).hexdigest()[:_DIGEST],
            )
    for name, reason in spare.items():
        array = arrays[name]
        records[name] = ArrayRecord(
            source=name, reason=reason, dtype=str(array.dtype), shape=array.shape
        )
    module.load_state_dict(state, assign=True)
    return Conversion(
        module=module,
        kind=_KINDS[origin],
        description=description,
        arrays=tuple(records[name] for name in arrays),
    )


def account(
    names: Iterable[str], moves: Sequence[Move], spare: Mapping[str, str], where: str
) -> dict[str, str]:
    """Return the names that are left out, with the reasons.

    Args:
        names: of all arrays in the file.
        moves: what is taken.
        spare: patterns of the names that may be left out, with the reasons.
        where: what error messages begin with.

    Raises:
        InputError: a name that is taken is missing, or one is neither taken nor spare.
    """
    names = dict.fromkeys(names)
    taken = dict.fromkeys(name for move in moves for name in move.sources)
    missing = [name for name in taken if name not in names]
    if missing:
        verb = "is missing" if len(missing) == 1 else "are missing"
        raise InputError(f"{where}: {_some(missing)} {verb}; is the file complete?")
    left_out = {}
    for name in names:
        if name not in taken:
            left_out[name] = next((r for p, r in spare.items() if re.fullmatch(p, name)), "")
    unknown = [name for name, reason in left_out.items() if not reason]
    if unknown:
        raise InputError(
            f"{where}: {_some(unknown)}: not part of this network, and nothing is left out unless "
            "it is known why; convert a file as it was published or written by its framework"
        )
    return left_out


def check_box_stds(arrays: Arrays, stds: Sequence[float], where: str) -> None:
    """Check that box maps are the plain ones, where a file has those with folded stds as well.

    Args:
        arrays: of a file of the release.
        stds: that the network multiplies its box deltas by.
        where: what error messages begin with.

    Raises:
        InputError: one is not the other times the stds.

    Official: fcis/core/callback.py:53-64 @309f6c9 (reference: 4.5).
    """
    channels = arrays["arg:fcis_bbox_weight"].shape[0]
    slots, k = box_layout(channels)
    for array in ("weight", "bias"):
        plain, folded = arrays[f"arg:fcis_bbox_{array}"], arrays.get(f"arg:fcis_bbox_{array}_test")
        if folded is None:
            continue
        if plain.shape != folded.shape or plain.shape[:1] != (channels,):
            raise InputError(
                f"{where}: arg:fcis_bbox_{array} is {plain.shape}, and with the stds folded in "
                f"{folded.shape}; is the file damaged?"
            )
        # the last slot is the one in use
        used, other = (
            a.astype(np.float64).reshape(slots, 4, k**2, -1)[-1].reshape(4, -1)
            for a in (plain, folded)
        )
        squares = (used**2).sum(axis=1)
        found = (used * other).sum(axis=1) / np.where(squares > 0, squares, 1)
        differs = np.abs(found - stds) > _STDS_TOLERANCE * np.abs(stds)
        if (differs & (squares > 0)).any():
            ratio = ", ".join(f"{value:.3g}" for value in found)
            raise InputError(
                f"{where}: arg:fcis_bbox_{array}_test is {ratio} times arg:fcis_bbox_{array}, "
                f"expected {', '.join(map(str, stds))}: the box stds seem to be folded into the "
                "plain arrays, or are others; convert the checkpoint as training wrote it"
            )


def _moves(architecture: Architecture, expected: Iterable[str]) -> tuple[Move, ...]:
    depths = architecture.backbone.depths
    if architecture.origin == "release":
        head = architecture.head is not None
        return release_moves(depths, head=head, stem_bias=architecture.stem_bias)
    if architecture.origin == "chainercv":
        return chainercv_moves(depths)
    return torch_moves(expected)


def _take(arrays: Arrays, move: Move, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Return the array that a move makes, float32 and row by row."""
    taken = []
    for name in move.sources:
        array = arrays[name]
        if array.dtype.kind != "f":
            raise InputError(f"{where}: {name} holds {array.dtype}, expected real numbers")
        if array.shape != shape:
            raise InputError(f"{where}: {name} is {array.shape}, expected {shape}")
        taken.append(array)
    with np.errstate(over="ignore"):
        result = np.require(move.transform(*taken), np.float32, ["C", "W"])
    if not np.isfinite(result).all():
        raise InputError(
            f"{where}: {move.sources[0]} has values that are not finite in float32; "
            "fetch or train it anew"
        )
    return result


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
