"""Weight files: safetensors whose metadata says all that prediction needs.

The metadata has one entry, `fcis`, a JSON object with the fields of `WeightsInfo`. Nothing in a
file is ever executed.
"""

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fcis.errors import InputError
from fcis.evaluation.records import DEFAULT_THRESHOLD
from fcis.model.fcis import FCIS
from fcis.model.stem import adapt_stem
from fcis.recipe import BackboneRecipe, ModelRecipe, Preprocessing
from fcis.recipe_json import JSON, from_json, to_json

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """What a weights file says of itself.

    Attributes:
        model: the resolved recipe, class names and dataset ids included. A file without
            categories holds a backbone alone, to begin training with.
        recipe: name of the recipe it was trained with.
        thresholds: operating threshold of each category 1..C; empty until found.
        training_data: a description for people.
        metrics: figures on the validation set.
        licence: of the weights.
    """

    model: ModelRecipe
    recipe: str = ""
    thresholds: tuple[float, ...] = ()
    training_data: str = ""
    metrics: tuple[tuple[str, float], ...] = ()
    licence: str = ""

    @property
    def is_backbone(self) -> bool:
        """Say whether the file holds a backbone alone, with which nothing can be found."""
        return not self.model.class_names

    def threshold_of(self) -> tuple[float, ...]:
        """Return the operating threshold of every label, background first."""
        found = self.thresholds or (DEFAULT_THRESHOLD,) * len(self.model.class_names)
        return (1.0, *found)


def save_weights(path: Path, model: nn.Module, info: WeightsInfo) -> None:
    """Write a weights file; the file is complete or not there.

    Raises:
        InputError: the folder cannot be written.
    """
    entry = {
        "format": FORMAT,
        "model": to_json(info.model),
        "recipe": info.recipe,
        "thresholds": list(info.thresholds),
        "training_data": info.training_data,
        "metrics": dict(info.metrics),
        "licence": info.licence,
    }
    state = {k: v.detach().cpu().contiguous() for k, v in _state(model).items()}
    # not `save_file`, which lets nobody but the owner read what it writes
    data = save(state, metadata={"fcis": json.dumps(entry, sort_keys=True)})
    partial = path.with_name(f"{path.name}.partial")
    try:
        write_synced(partial, data)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}); choose another place") from None


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_info(path: Path) -> WeightsInfo:
    """Return what a weights file says of itself, without reading its arrays.

    Raises:
        InputError: no such file, not a safetensors file, or not one of fcis.
    """
    with _open(path) as file:
        entry = (file.metadata() or {}).get("fcis")
    if entry is None:
        raise InputError(f"{path}: has no description by fcis; give weights that fcis has trained")
    try:
        data = json.loads(entry)
        if data["format"] != FORMAT:
            raise InputError(f"{path}: format {data['format']} is not known; update fcis")
        info = WeightsInfo(
            model=from_json(ModelRecipe, data["model"], f"{path}: model"),
            recipe=str(data["recipe"]),
            thresholds=tuple(float(t) for t in data["thresholds"]),
            training_data=str(data["training_data"]),
            metrics=tuple((str(k), float(v)) for k, v in data["metrics"].items()),
            licence=str(data["licence"]),
        )
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError):
        raise InputError(f"{path}: its description is damaged; fetch or train it anew") from None
    if len(info.thresholds) not in (0, len(info.model.class_names)):
        raise InputError(
            f"{path}: has {len(info.thresholds)} thresholds for {len(info.model.class_names)} "
            "categories; fetch or train it anew"
        )
    if not all(map(math.isfinite, info.thresholds)):
        raise InputError(f"{path}: a threshold is not finite; fetch or train it anew")
    return info


def load_weights(path: Path, model: nn.Module) -> None:
    """Put a file's arrays into a model of the same recipe; every array must fit.

    Raises:
        InputError: arrays are missing, left over, or of another shape.
    """
    state = read_arrays(path)
    problem = _first_mismatch(_state(model), state)
    if problem:
        raise InputError(f"{path}: does not fit the model ({problem}); is the file complete?")
    model.load_state_dict(state, strict=False)


def load_what_fits(path: Path, model: FCIS, class_names: tuple[str, ...]) -> list[str]:
    """Put a file's arrays into a model for training, class maps only for the same categories.

    A backbone alone must fit as a whole; its first layer is changed to take the recipe's input.

    Returns:
        The names of the model's arrays that the file did not fill.

    Raises:
        InputError: nothing of the file fits, or its backbone is of another geometry or size.
    """
    info = read_info(path)
    _check_backbone(path, info, model.recipe.backbone)
    state, own = read_arrays(path), _state(model)
    if info.model.class_names != class_names:
        state = {k: v for k, v in state.items() if not k.startswith("head.classes.")}
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise InputError(f"{path}: no array fits this recipe; choose the recipe it was made with")
    model.load_state_dict(fitting, strict=False)
    if info.is_backbone:
        _adapt_stem(model, info.model.preprocessing)
    return sorted(set(own) - set(fitting))


def with_metrics(
    info: WeightsInfo, metrics: dict[str, float], thresholds: tuple[float, ...]
) -> WeightsInfo:
    """Return the description with new figures and operating thresholds."""
    return replace(info, metrics=tuple(sorted(metrics.items())), thresholds=thresholds)


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Return all arrays of a safetensors file as float32.

    Raises:
        InputError: no such file, not a safetensors file, or arrays of other than real numbers.
    """
    arrays = {}
    with _open(path) as file:
        for name in file.keys():
            array = file.get_tensor(name)
            if not array.is_floating_point():
                raise InputError(f"{path}: {name} holds {array.dtype}, expected real numbers")
            arrays[name] = array.to(torch.float32)
    return arrays


def _open(path: Path) -> safe_open:
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; `fcis info` lists what there is")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a safetensors file or damaged ({error})") from None


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Return the arrays that belong into a file; counters of batches do not."""
    return {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


def _check_backbone(path: Path, info: WeightsInfo, wanted: BackboneRecipe) -> None:
    """Refuse a backbone whose arrays fit in part or in shape alone."""
    found = info.model.backbone
    names = ("variant",)
    if info.is_backbone:
        names = ("block", "depths", "widths", "stem_width", "in_channels", "variant")
        if wanted.norm == "group":
            raise InputError(
                f"{path}: its backbone has batch normalisation, the recipe's backbone.norm is "
                "group; add --set norm=frozen"
            )
    for name in names:
        theirs, ours = to_json(getattr(found, name)), to_json(getattr(wanted, name))
        if theirs != ours:
            raise InputError(
                f"{path}: its backbone.{name} is {json.dumps(theirs)}, the recipe's is "
                f"{json.dumps(ours)}; add --set backbone.{name}={_setting(theirs)} or take other "
                "weights"
            )


def _setting(value: JSON) -> str:
    """Return a value as `--set` takes it from a shell."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _adapt_stem(model: FCIS, trained: Preprocessing) -> None:
    """Let the first layer take the recipe's input instead of that of the weights."""
    own = model.recipe.preprocessing
    if (own.mean, own.std) != (trained.mean, trained.std):
        mean = tuple(value / 255 for value in trained.mean)
        std = tuple(value / 255 for value in trained.std)
        adapt_stem(model.backbone, own, mean, std)


def _first_mismatch(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    for name, value in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name].shape != value.shape:
            return f"{name} is {tuple(found[name].shape)} instead of {tuple(value.shape)}"
    left = sorted(set(found) - set(expected))
    return f"{left[0]} is not part of it" if left else ""
