"""Speed on a GPU: `fcis benchmark` of the operators, of inference and of training, with peers.

Targets: coco-resnet101 at 600 x 1000 in bfloat16 makes 300 images a second in batches of 8 and 100
one at a time, and what is done for each RoI is at most 5 % of the time.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from common import Call, run
from processes import fcis_job
from results import Bar

SCRIPT = "20-bench"
PER_ROI = 0.05
IMAGES_A_SECOND = {1: 100.0, 8: 300.0}  # by batch, in bfloat16
_BFLOAT16 = ("--precision", "bfloat16")
_BATCHES = ("--batch", "1", "--batch", "8")
_TINY = ("--quick", "--recipe", "tiny")
_TINY_INFERENCE = (*_TINY, "--no-peer", "--batch", "1")
_TRAINED_BFLOAT16 = ("--set", "training.precision=bfloat16")
# of tiny's 24 channels oneDNN of torch 2.14 has bfloat16 gradients that are not finite
_WIDER = ("--set", "backbone.widths=[16,16,32,32]")

Figures = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One call of `fcis benchmark`.

    Attributes:
        words: of its command line.
        quick: the same, tiny.
        is_target: does the network have to be as fast as the targets say.
    """

    name: str
    words: tuple[str, ...]
    quick: tuple[str, ...]
    is_target: bool = False


def _inference(name: str, recipe: str, *more: str, is_target: bool = False) -> Part:
    words = ("inference", "--recipe", recipe, *_BATCHES, *more)
    quick = ("inference", *_TINY_INFERENCE, *(m for m in more if m in _BFLOAT16))
    return Part(name=name, words=words, quick=quick, is_target=is_target)


def _training(name: str, *words: str) -> Part:
    half = words[-1] in _TRAINED_BFLOAT16
    quick = ("training", *_TINY, *((*_WIDER, *_TRAINED_BFLOAT16) if half else ()))
    return Part(name=name, words=("training", *words), quick=quick)


_SMALL = ("--recipe", "nuclei", "--recipe", "nuclei-cpu", "--recipe", "scenes")
_WITH_MNC = ("--recipe", "coco-resnet101", "--recipe", "mnc", "--batch", "2")
PARTS = (
    _inference("inference-bfloat16", "coco-resnet101", *_BFLOAT16, is_target=True),
    _inference(
        "inference-bfloat16-compiled",
        "coco-resnet101",
        *_BFLOAT16,
        "--compile",
        "--no-peer",
        is_target=True,
    ),
    _training("training-mnc", *_WITH_MNC),
    _training(
        "training-small", "--recipe", "nuclei", "--recipe", "nuclei-cpu", "--recipe", "scenes"
    ),
    Part(name="ops-float32", words=("ops",), quick=("ops", "--quick")),
    Part(
        name="ops-bfloat16",
        words=("ops", *_BFLOAT16),
        quick=("ops", "--quick", "--sampling", "native", *_BFLOAT16),
    ),
    _inference("inference-mnc-bfloat16", "mnc", *_BFLOAT16, "--no-peer"),
    _inference("inference-float32", "coco-resnet101"),
    _training("training-mnc-bfloat16", *_WITH_MNC, *_TRAINED_BFLOAT16),
)
"""The most useful ones first, for when the time is short."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the option of this script."""
    names = [part.name for part in PARTS]
    parser.add_argument("--part", action="append", choices=names, help="default: all")


def work(call: Call) -> None:
    """Measure what has no result yet, one after the other."""
    for part in PARTS:
        key = {"part": part.name}
        if part.name not in (call.options.part or [part.name]) or call.known(key):
            continue
        path = call.work / f"{part.name}.json"
        words = part.quick if call.quick else part.words
        job = fcis_job(part.name, "benchmark", *words, "--device", call.device, "--json", path)
        outcome = call.run(job)[part.name]
        if not outcome.done:
            continue
        figures = json.loads(path.read_text(encoding="utf-8"))
        readers = {"ops": _of_ops, "inference": _of_inference, "training": _of_training}
        shown = readers[figures["benchmark"]](figures)
        bars = targets(figures) if part.is_target else []
        call.record(key, figures=figures, shown=shown, bars=bars, seconds=outcome.seconds)


def targets(figures: dict) -> list[Bar]:
    """Return what the network has to reach, with what it has."""
    found = {entry["batch"]: entry["rate"]["median"] for entry in figures["throughput"]}
    bars = [
        Bar(name=_rate_name(batch), wanted=wanted, found=found.get(batch))
        for batch, wanted in IMAGES_A_SECOND.items()
    ]
    share = figures["share_per_roi"]["median"]
    return [*bars, Bar(name="share of RoIs", wanted=PER_ROI, found=share, at_most=True)]


def _of_inference(figures: dict) -> dict[str, float]:
    shown = {_rate_name(x["batch"]): x["rate"]["median"] for x in figures["throughput"]}
    shown["share of RoIs"] = figures["share_per_roi"]["median"]
    shown["network / products"] = figures["products"]["over_bare"]["median"]
    for entry in figures["peers"]:
        shown[f"{entry['name']}, batch {entry['batch']}: images/s"] = entry["rate"]["median"]
    return shown


def _of_training(figures: dict) -> dict[str, float]:
    return {
        f"{step['recipe']}: images/s": step["images_per_second"]["median"]
        for step in figures["steps"]
    }


def _of_ops(figures: dict) -> dict[str, float]:
    return {
        f"{x['sampling']}, {x['tensor']}, {x['work']}: peer / fcis": x["peer_over_ours"]["median"]
        for x in figures["comparisons"]
    }


def _rate_name(batch: int) -> str:
    return f"images/s, batch {batch}"


if __name__ == "__main__":
    sys.exit(run(SCRIPT, __doc__, work, add=add))
