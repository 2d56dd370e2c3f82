"""The Python interface's one function."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import fcis.predictor


def load(
    weights: str | Path | None = None,
    *,
    device: str = "auto",
    fold: bool = True,
    precision: Literal["float32", "bfloat16"] = "float32",
    compile: bool | Literal["reduce-overhead"] = False,
) -> "fcis.predictor.Predictor":
    """Return a predictor.

    Args:
        weights: a zoo name, a `.safetensors` file, a run folder, or `hf://owner/name`; without
            it, the only weights of the zoo.
        device: `cpu`, `cuda`, `cuda:N`, `mps`, or `auto` for the fastest of these; results are
            arrays on the CPU in any case.
        fold: let the convolutions take up BatchNorm: faster, the same up to rounding; the model
            then can be neither trained nor saved.
        precision: of the network's convolutions. bfloat16 is much faster on GPUs, and slower on
            CPUs without instructions for it; masks and scores change a little.
        compile: compile the network for each size of image, with a warning where no compiler is.
            Takes a minute or so a size; `reduce-overhead` records CUDA graphs besides.

    Raises:
        InputError: the weights cannot be found or used, or there is no such device.
    """
    # They bring torch, which takes seconds that `import fcis` and `fcis --help` should not.
    from fcis.predictor import load_predictor
    from fcis.weights.catalog import resolve_weights

    return load_predictor(
        resolve_weights(None if weights is None else str(weights)),
        device=device,
        fold=fold,
        precision=precision,
        compile=compile,
    )
