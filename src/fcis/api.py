"""The Python interface's one function."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fcis.predictor


def load(weights: str | Path | None = None, *, device: str = "auto") -> "fcis.predictor.Predictor":
    """Return a predictor.

    Args:
        weights: a zoo name, a `.safetensors` file, a run folder, or `hf://owner/name`; without
            it, the only weights of the zoo.
        device: `cpu`, `cuda`, `cuda:N`, `mps`, or `auto` for the fastest of these; results are
            arrays on the CPU in any case.

    Raises:
        InputError: the weights cannot be found or used, or there is no such device.
    """
    # They bring torch, which takes seconds that `import fcis` and `fcis --help` should not.
    from fcis.predictor import load_predictor
    from fcis.weights.catalog import resolve_weights

    return load_predictor(resolve_weights(None if weights is None else str(weights)), device=device)
