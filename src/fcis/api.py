"""The Python interface's one function."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import fcis.inference.predictor


def load(
    weights: str | Path | Sequence[str | Path] | None = None,
    *,
    device: str = "auto",
    fold: bool = True,
    precision: Literal["float32", "bfloat16"] = "float32",
    compile: bool | Literal["reduce-overhead"] = False,
    scales: Sequence[int | str] = (),
    flip: bool = False,
    roi_side: int | float = 224,
) -> "fcis.inference.predictor.Predictor":
    """Return a predictor.

    Args:
        weights: a zoo name, a `.safetensors` file, a run folder, or `hf://owner/name`; without
            it, the weights that `fcis predict` takes. Of a list of several, the results are
            averaged RoI by RoI; they must know the same categories, and the thresholds of the
            first one hold.
        device: `cpu`, `cuda`, `cuda:N`, `mps`, or `auto` for the fastest of these; results are
            arrays on the CPU in any case.
        fold: let the convolutions take up BatchNorm: faster, the same up to rounding; the model
            then can be neither trained nor saved.
        precision: of the network's convolutions. bfloat16 is much faster on GPUs, and slower on
            CPUs without instructions for it; masks and scores change a little.
        compile: compile the network for each size of image, with a warning where no compiler is.
            Takes a minute or so a size; `reduce-overhead` records CUDA graphs besides.
        scales: sizes in which each image is tested: shorter sides in pixels (480) or factors of
            the weights' own size ("1.5x"). Each RoI is read at the scale that suits its size;
            what is proposed comes from the weights' own size.
        flip: average with what is found in the mirror image.
        roi_side: side of a square with as many pixels as an RoI should have at its scale.

    Raises:
        InputError: the weights cannot be found or used, there is no such device, or the scales
            make no sense.
    """
    # They bring torch, which takes seconds that `import fcis` and `fcis --help` should not.
    from fcis.inference.load_predictor import load_any
    from fcis.inference.test_time.ensemble import Averaging
    from fcis.inference.test_time.scales import read_scales

    return load_any(
        weights,
        device=device,
        averaging=Averaging(scales=read_scales(scales), flip=flip, roi_side=roi_side),
        fold=fold,
        precision=precision,
        compile=compile,
    )
