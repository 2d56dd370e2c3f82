"""Weight files: safetensors whose metadata says all that prediction needs.

The metadata has one entry, `fcis`, a JSON object with the fields of `WeightsInfo`. Nothing in a
file is ever executed.
"""

import json
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from timm.models import adapt_input_conv
from torch import Tensor, nn

from fcis.core.errors import InputError
from fcis.core.guard import guarded, reason_of
from fcis.core.output_files import put_file
from fcis.evaluation.calibration import Calibration
from fcis.evaluation.records import DEFAULT_THRESHOLD
from fcis.model.backbone import Backbone
from fcis.model.detector import Detector
from fcis.model.stem import adapt_stem
from fcis.recipe.as_json import JSON, from_json, to_json
from fcis.recipe.types import ModelRecipe, Preprocessing

# Who knows only 1 and 2, where a model's recipe had no version, is told to update.
FORMAT = 3
# With a calibration: who does not know of it would hold thresholds against other scores.
CALIBRATED_FORMAT = 4
_KNOWN = (1, 2, FORMAT, CALIBRATED_FORMAT)
_RGB = 3  # channels


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """What a weights file says of itself.

    Attributes:
        model: the resolved recipe, class names and dataset ids included. A file without
            categories holds a backbone alone, to begin training with.
        recipe: name of the recipe it was trained with.
        thresholds: operating threshold of each category 1..C, in calibrated scores where there is
            a calibration; empty until found.
        training_data: a description for people.
        metrics: figures on the validation set.
        spread: of some of the metrics, the standard deviation over trainings with other seeds.
        licence: of the weights.
        about: what they are for, a few words for lists.
        calibration: makes the network's scores probabilities; nothing until found.
    """

    model: ModelRecipe
    recipe: str = ""
    thresholds: tuple[float, ...] = ()
    training_data: str = ""
    metrics: tuple[tuple[str, float], ...] = ()
    spread: tuple[tuple[str, float], ...] = ()
    licence: str = ""
    about: str = ""
    calibration: Calibration | None = None

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
        ValueError: the model's norms have been folded into its convolutions.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in _state(model).items()}
    if isinstance(model, Detector) and model.is_folded:
        raise ValueError("model: its norms are folded into convolutions; load it with fold=False")
    write_arrays(path, state, info)


def write_arrays(path: Path, arrays: dict[str, Tensor], info: WeightsInfo) -> None:
    """Write a weights file of arrays as they are; the file is complete or not there.

    Raises:
        InputError: the folder cannot be written.
    """
    # not `save_file`, which lets nobody but the owner read what it writes
    data = save(arrays, metadata={"fcis": _entry(info)})
    put_file(path, lambda file: file.write(data))


def rewrite_info(source: Path, target: Path, info: WeightsInfo) -> None:
    """Write a copy of a weights file that says something else of itself; its arrays are the same.

    Source and target may be the same file, whose permissions stay. The copy is complete or not
    there.

    Raises:
        InputError: no such file, not one of fcis, or the target cannot be written.
    """
    read_info(source)
    with _open(source) as file:
        metadata = dict(file.metadata()) | {"fcis": _entry(info)}
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    # a link stays one, and what it points to is written
    data = save(arrays, metadata=metadata)
    put_file(target.resolve(), lambda file: file.write(data))


def _entry(info: WeightsInfo) -> str:
    entry = {
        "format": FORMAT,
        "model": to_json(info.model),
        "recipe": info.recipe,
        "thresholds": list(info.thresholds),
        "training_data": info.training_data,
        "metrics": dict(info.metrics),
        "licence": info.licence,
    }
    if info.about:
        entry["about"] = info.about
    if info.spread:
        entry["spread"] = dict(info.spread)
    if info.calibration is not None:
        entry |= {"format": CALIBRATED_FORMAT, "calibration": info.calibration.to_json()}
    return json.dumps(entry, sort_keys=True)


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
        if data["format"] not in _KNOWN:
            raise InputError(f"{path}: format {data['format']} is not known; update fcis")
        info = WeightsInfo(
            model=_model(path, data["model"]),
            recipe=str(data["recipe"]),
            thresholds=tuple(float(t) for t in data["thresholds"]),
            training_data=str(data["training_data"]),
            metrics=_figures(data["metrics"]),
            spread=_figures(data.get("spread", {})),
            licence=str(data["licence"]),
            about=str(data.get("about", "")),
            calibration=_calibration(data.get("calibration")),
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


def _model(path: Path, entry: object) -> ModelRecipe:
    try:
        return from_json(ModelRecipe, entry, f"{path}: model")
    except InputError as error:
        raise InputError(f"{error}; fetch or train the weights anew, or update fcis") from None


def _figures(data: dict[str, float | int]) -> tuple[tuple[str, float], ...]:
    return tuple((str(name), float(value)) for name, value in data.items())


def load_weights(path: Path, model: nn.Module) -> None:
    """Put a file's arrays into a model of the same recipe; every array must fit.

    Raises:
        InputError: arrays are missing, left over, or of another shape.
    """
    state = read_arrays(path)
    shapes = [{k: v.shape for k, v in arrays.items()} for arrays in (_state(model), state)]
    _refuse(path, _first_mismatch(*shapes))
    model.load_state_dict(state, strict=False)


def check_fits(path: Path, model: nn.Module) -> None:
    """Check that a file has the arrays of a model, by its header; the model may have no memory.

    Raises:
        InputError: arrays are missing, left over, or of another shape.
    """
    with _open(path) as file:
        found = {name: torch.Size(file.get_slice(name).get_shape()) for name in file.keys()}
    _refuse(path, _first_mismatch({k: v.shape for k, v in _state(model).items()}, found))


def load_what_fits(path: Path, model: Detector, class_names: tuple[str, ...]) -> list[str]:
    """Put a file's arrays into a model for training, class maps only for the same categories.

    A backbone alone must fit as a whole; its first layer is changed to take the recipe's input.

    Returns:
        The names of the model's arrays that the file did not fill.

    Raises:
        InputError: nothing of the file fits, or its backbone is of another geometry or size.
    """
    info = read_info(path)
    _check_backbone(path, info, model)
    state, own = read_arrays(path), _state(model)
    others: tuple[str, ...] = ()
    if info.model.class_names != class_names:
        others = model.class_layers
    if info.model.system != model.recipe.system:
        # arrays of a head that have the same name and shape mean something else
        others = (*model.class_layers, "head.")
    reduction = "head.reduction."
    state = {k: v for k, v in state.items() if k.startswith(reduction) or not k.startswith(others)}
    state = _for_each_backbone(state, own)
    spread = _spread_stems(state, model)
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise InputError(f"{path}: no array fits this recipe; choose the recipe it was made with")
    model.load_state_dict(fitting, strict=False)
    if info.is_backbone or spread:
        _adapt_stem(model, info.model.preprocessing)
    return sorted(set(own) - set(fitting))


def with_metrics(
    info: WeightsInfo, metrics: dict[str, float], thresholds: tuple[float, ...]
) -> WeightsInfo:
    """Return the description with new figures and operating thresholds."""
    return replace(info, metrics=tuple(sorted(metrics.items())), spread=(), thresholds=thresholds)


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


def _calibration(entry: dict[str, float] | None) -> Calibration | None:
    if entry is None:
        return None
    return Calibration(temperature=float(entry["temperature"]), bias=float(entry["bias"]))


def _open(path: Path) -> safe_open:
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; `fcis info` lists what there is")
    with guarded(partial(_damaged, path)):
        return safe_open(path, framework="pt")


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a safetensors file or damaged ({reason_of(error)})")


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Return the arrays that belong into a file; counters of batches do not."""
    return {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


def _check_backbone(path: Path, info: WeightsInfo, model: Detector) -> None:
    """Refuse a backbone whose arrays fit in part or in shape alone."""
    found, wanted = info.model.backbone, model.recipe.backbone
    names = ("network", *model.backbone.meanings)
    if info.is_backbone:
        names = ("network", *model.backbone.sizes, *model.backbone.meanings)
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


def _for_each_backbone(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the arrays with those of the backbone again for each other one that has none."""
    copies = {
        name: state[source]
        for name in own
        if (source := name[name.find("backbone.") :]) in state and source.startswith("backbone.")
    }
    return copies | state


def _spread_stems(state: dict[str, Tensor], model: nn.Module) -> bool:
    """Change first layers for RGB to a model's number of channels; return whether there were any.

    One channel gets the sum of the weights of all three; others repeat them in turn, scaled.
    """
    changed = False
    for prefix, module in model.named_modules():
        if not isinstance(module, Backbone):
            continue
        name = f"{prefix}.{module.stem}.weight"
        wanted = module.get_parameter(f"{module.stem}.weight").shape[1]
        if name in state and state[name].shape[1] == _RGB != wanted:
            state[name] = adapt_input_conv(wanted, state[name])
            changed = True
    return changed


def _adapt_stem(model: Detector, trained: Preprocessing) -> None:
    """Let the first layer take the recipe's input instead of that of the weights."""
    own = model.recipe.preprocessing
    if (own.mean, own.std) != (trained.mean, trained.std):
        mean = tuple(value / 255 for value in trained.mean)
        std = tuple(value / 255 for value in trained.std)
        for module in model.modules():
            if isinstance(module, Backbone):
                adapt_stem(module, own, mean, std)


def _refuse(path: Path, mismatch: str) -> None:
    if mismatch:
        raise InputError(f"{path}: does not fit the model ({mismatch}); is the file complete?")


def _first_mismatch(expected: dict[str, torch.Size], found: dict[str, torch.Size]) -> str:
    for name, shape in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != shape:
            return f"{name} is {tuple(found[name])} instead of {tuple(shape)}"
    left = sorted(set(found) - set(expected))
    return f"{left[0]} is not part of it" if left else ""
