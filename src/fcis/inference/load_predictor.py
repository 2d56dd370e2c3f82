"""From what users call weights to one predictor, with the test-time tools they ask for."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fcis.core.errors import InputError
from fcis.inference.predictor import Predictor, load_predictor
from fcis.inference.test_time.ensemble import Averaging, Ensemble
from fcis.inference.tiling.tile_grid import Tiling
from fcis.model.precision import Compile, Precision
from fcis.recipe.types import ModelRecipe
from fcis.weights.catalog import resolve_weights
from fcis.weights.weights_file import read_info

Weights = str | Path | Sequence[str | Path] | None


def load_any(
    weights: Weights,
    *,
    device: str,
    averaging: Averaging | None = None,
    change: Callable[[ModelRecipe], ModelRecipe] | None = None,
    fold: bool = True,
    precision: Precision = "float32",
    compile: Compile = False,
    tiling: Tiling | None = None,
) -> Predictor:
    """Return a predictor of one network or of an ensemble.

    The first network's thresholds, calibration, category ids and rules of suppression and voting
    hold for an ensemble.

    Args:
        weights: as `resolve_weights` takes them; several for an ensemble.
        device: as `choose_device` takes it.
        averaging: scales and mirror image; nothing for each network's own size alone.
        change: of the test-time settings of each network.
        fold: as `load_predictor` takes it, and so the following.
        precision: of the convolutions.
        compile: what runs on whole images.
        tiling: in which images go through the network.

    Raises:
        InputError: weights cannot be found or used or do not go together, or there is no such
            device.
    """
    names = [weights] if weights is None or isinstance(weights, str | Path) else list(weights)
    if not names:
        raise InputError("weights: an empty list; name at least one")
    predictors: list[Predictor] = []
    for name in names:
        path = resolve_weights(None if name is None else str(name))
        recipe = change(read_info(path).model) if change is not None else None
        predictors.append(
            load_predictor(
                path,
                device=device,
                recipe=recipe,
                fold=fold,
                precision=precision,
                compile=compile,
                tiling=tiling,
            )
        )
    found = predictors[0]
    networks, texts = [p.model for p in predictors], [str(name) for name in names]
    ensemble = Ensemble(networks, texts, averaging or Averaging())
    if ensemble.is_plain:
        return found
    if compile == "reduce-overhead":
        raise InputError(
            "compile reduce-overhead: keeps the maps of one image at one scale alone; with scales, "
            "flip or several weights take compile=True"
        )
    found.ensemble = ensemble
    return found
