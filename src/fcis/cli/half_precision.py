"""`fcis convert --half`: from a weights file or a run to a described file of half precision."""

import argparse
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

from fcis.cli.common import check_file, size_text
from fcis.core.errors import InputError
from fcis.weights.catalog import resolve_weights
from fcis.weights.half_precision import Packed, pack_weights
from fcis.weights.weights_file import WeightsInfo

SUFFIX = ".safetensors"
# what each option is called in the parsed arguments
_OF_HALF = {
    "--about": "about",
    "--licence": "licence",
    "--trained-on": "trained_on",
    "--metric": "metric",
}
_OF_OTHERS = {"--conventions": "conventions", "--report": "report"}

Figure = tuple[str, float, float | None]


def run(options: argparse.Namespace) -> int:
    """Write the file, and say how large it is and what it lacks."""
    for option, name in _OF_OTHERS.items():
        if getattr(options, name) is not None:
            raise InputError(f"{option}: is for weights of other programs; leave it out")
    source, target = _source(options.source), options.target
    if target.suffix.lower() != SUFFIX:
        raise InputError(f"{target}: expected a name that ends in {SUFFIX}")
    if target.resolve() == source.resolve():
        raise InputError(f"{source}: source and target must be different files")
    figures = [read_figure(text) for text in options.metric]
    check_file("TARGET", target)
    change = partial(
        described,
        about=options.about,
        licence=options.licence,
        training_data=options.trained_on,
        figures=figures,
    )
    packed = pack_weights(source, target, change)
    print(summary(packed, source, target))
    return 0


def refuse_options(options: argparse.Namespace) -> None:
    """Refuse the options that mean nothing without `--half`.

    Raises:
        InputError: one is given.
    """
    for option, name in _OF_HALF.items():
        if getattr(options, name):
            raise InputError(f"{option}: is for weights of fcis; add --half or leave it out")


def described(
    info: WeightsInfo,
    *,
    about: str | None = None,
    licence: str | None = None,
    training_data: str | None = None,
    figures: list[Figure],
) -> WeightsInfo:
    """Return a description with what is given in place of what stands in it.

    Args:
        info: as it is.
        about: what the weights are for.
        licence: of the weights.
        training_data: for people.
        figures: name, value and, where known, spread of metrics; others stay.
    """
    metrics, spread = dict(info.metrics), dict(info.spread)
    for name, value, deviation in figures:
        metrics[name] = value
        spread.pop(name, None)
        if deviation is not None:
            spread[name] = deviation
    return replace(
        info,
        about=info.about if about is None else about,
        licence=info.licence if licence is None else licence,
        training_data=info.training_data if training_data is None else training_data,
        metrics=tuple(sorted(metrics.items())),
        spread=tuple(sorted(spread.items())),
    )


def read_figure(text: str) -> Figure:
    """Return name, value and spread of `NAME=VALUE[+-SPREAD]`.

    Raises:
        InputError: it is not of this form, or a number is not finite.
    """
    name, equals, numbers = text.partition("=")
    value, sign, deviation = numbers.partition("+-")
    try:
        figure = name.strip(), float(value), float(deviation) if sign else None
    except ValueError:
        figure = "", math.nan, None
    if not (equals and figure[0] and math.isfinite(figure[1]) and _is_spread(figure[2])):
        raise InputError(
            f"--metric {text}: expected NAME=VALUE or NAME=VALUE+-SPREAD, e.g. AP=0.654+-0.004"
        )
    return figure


def summary(packed: Packed, source: Path, target: Path) -> str:
    """Return what a person wants to know of a file in half precision."""
    info = packed.info
    share = packed.after / packed.before
    rows = [
        ("arrays", f"{packed.halved} in half precision"),
        ("kept whole", ", ".join(packed.whole)),
        ("size", f"{size_text(packed.after)}, {share:.0%} of what it was"),
        ("about", info.about or "not stated; --about says it"),
        ("licence", info.licence or "not stated; --licence says it"),
        ("trained on", info.training_data or "not stated; --trained-on says it"),
    ]
    lines = [str(source), *(f"  {name:12} {value}" for name, value in rows if value)]
    lines.append(f"weights: {target}")
    if info.is_backbone:
        lines.append(f"use it:  fcis train --weights {target} ..., with a recipe of this backbone")
    else:
        lines.append(f"try it:  fcis predict IMAGES --weights {target}")
    return "\n".join(lines)


def _source(path: Path) -> Path:
    """Return the weights file that a file or run folder is."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a weights file or a run folder")
    if path.is_file() and path.suffix.lower() != SUFFIX:
        raise InputError(
            f"{path}: is no weights file of fcis; convert it without --half first, then the result"
        )
    return resolve_weights(str(path))


def _is_spread(value: float | None) -> bool:
    return value is None or (math.isfinite(value) and value >= 0)
