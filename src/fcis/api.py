"""The Python interface's one function."""

from pathlib import Path

from fcis.predictor import Predictor, load_predictor
from fcis.weights.catalog import resolve_weights


def load(weights: str | Path | None = None, *, device: str = "cpu") -> Predictor:
    """Return a predictor.

    Args:
        weights: a zoo name, a `.safetensors` file, a run folder, or `hf://owner/name`; without
            it, the only weights of the zoo.
        device: where it runs, a name that torch knows.

    Raises:
        InputError: the weights cannot be found or used.
    """
    return load_predictor(resolve_weights(None if weights is None else str(weights)), device=device)
