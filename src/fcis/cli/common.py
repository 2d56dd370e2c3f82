"""The predictor that options ask for; brings torch, so commands import it when they run."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from fcis.core.devices import choose_device
from fcis.inference.load_predictor import load_any
from fcis.inference.predictor import Predictor
from fcis.inference.test_time.ensemble import Averaging
from fcis.inference.test_time.scales import read_scales
from fcis.inference.tiling.tile_grid import Tiling
from fcis.recipe.reading import with_size
from fcis.weights.catalog import default_weights, zoo
from fcis.weights.weights_file import read_info


def open_predictor(
    weights: str | Sequence[str] | None,
    size: str | None,
    device: str,
    averaging: Averaging | None = None,
    tiling: Tiling | None = None,
) -> Predictor:
    """Return the predictor that options ask for; of several weights, an ensemble.

    Without weights, says which ones of the package it takes.

    Raises:
        InputError: the weights or an option cannot be used, or there are none to take.
    """
    device = choose_device(device)
    if weights is None:
        weights = default_weights()
        about = read_info(zoo()[weights]).about
        print(f"weights: {weights} ({about}); --weights names others", file=sys.stderr)
    change = partial(with_size, text=size) if size is not None else None
    return load_any(weights, device=device, averaging=averaging, change=change, tiling=tiling)


def averaging_of(options: argparse.Namespace) -> Averaging:
    """Return what `--scales`, `--flip` and `--roi-side` ask for.

    Raises:
        InputError: one of them makes no sense.
    """
    scales = () if options.scales is None else read_scales(options.scales.split(","))
    return Averaging(scales=scales, flip=options.flip, roi_side=options.roi_side)
