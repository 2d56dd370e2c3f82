"""Speed on a GPU: `fcis benchmark` of the operators, of inference and of training, with peers.

Targets: coco-resnet101 at 600 x 1000 in bfloat16 makes 300 images a second in batches of 8 and 100
one at a time, and what is done for each RoI is at most 5 % of the time.
"""

import argparse
import json
import sys

from common import Call, run
from processes import fcis_job
from results import Bar

PER_ROI = 0.05
IMAGES_A_SECOND = {1: 100.0, 8: 300.0}  # by batch, in bfloat16
_BIG = "inference --recipe coco-resnet101 --batch 1 --batch 8"
_WITH_MNC = "training --recipe coco-resnet101 --recipe mnc --batch 2"
_BFLOAT16 = "--precision bfloat16"
_TRAINED_BFLOAT16 = "--set training.precision=bfloat16"
PARTS = {
    "inference-bfloat16": f"{_BIG} {_BFLOAT16}",
    "inference-bfloat16-compiled": f"{_BIG} {_BFLOAT16} --compile --no-peer",
    "training-mnc": _WITH_MNC,
    "training-small": "training --recipe nuclei --recipe nuclei-cpu --recipe scenes",
    "ops-float32": "ops",
    "ops-bfloat16": f"ops {_BFLOAT16}",
    "inference-mnc-bfloat16": f"inference --recipe mnc --batch 1 --batch 8 {_BFLOAT16} --no-peer",
    "inference-float32": _BIG,
    "training-mnc-bfloat16": f"{_WITH_MNC} {_TRAINED_BFLOAT16}",
}
"""Command lines of `fcis benchmark`, the most useful ones first, for when the time is short."""

TARGETS = ("inference-bfloat16", "inference-bfloat16-compiled")
"""Parts whose network has to be as fast as the targets say."""

_TINY = {
    "ops": "ops --quick --sampling native",
    "inference": "inference --quick --recipe tiny --no-peer --batch 1",
    # of tiny's 24 channels oneDNN of torch 2.14 has bfloat16 gradients that are not finite
    "training": "training --quick --recipe tiny --set backbone.widths=[16,16,32,32]",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the option of this script."""
    parser.add_argument("--part", action="append", choices=tuple(PARTS), help="default: all")


def work(call: Call) -> None:
    """Measure what has no result yet, one after the other."""
    for name in PARTS:
        key = {"part": name}
        if name not in (call.options.part or [name]) or call.known(key):
            continue
        path = call.work / f"{name}.json"
        words = words_of(name, quick=call.quick)
        job = fcis_job(name, "benchmark", *words, "--device", call.device, "--json", path)
        outcome = call.run(job)[name]
        if not outcome.done:
            continue
        figures = json.loads(path.read_text(encoding="utf-8"))
        bars = targets(figures) if name in TARGETS else []
        call.record(key, figures=figures, shown=shown(figures), bars=bars, seconds=outcome.seconds)


def words_of(name: str, *, quick: bool) -> list[str]:
    """Return the command line of a part, or a tiny one of the same kind and precision."""
    words = PARTS[name]
    if not quick:
        return words.split()
    precision = [p for p in (_BFLOAT16, _TRAINED_BFLOAT16) if p in words]
    return " ".join([_TINY[words.partition(" ")[0]], *precision]).split()


def targets(figures: dict) -> list[Bar]:
    """Return what the network has to reach, with what it has."""
    found = {entry["batch"]: entry["rate"]["median"] for entry in figures["throughput"]}
    bars = [
        Bar(name=_rate_name(batch), wanted=wanted, found=found.get(batch))
        for batch, wanted in IMAGES_A_SECOND.items()
    ]
    share = figures["share_per_roi"]["median"]
    return [*bars, Bar(name="share of RoIs", wanted=PER_ROI, found=share, at_most=True)]


def shown(figures: dict) -> dict[str, float]:
    """Return what the table shows of a benchmark."""
    if figures["benchmark"] == "ops":
        return {
            f"{x['sampling']}, {x['tensor']}, {x['work']}: peer / fcis": x["peer_over_ours"][
                "median"
            ]
            for x in figures["comparisons"]
        }
    if figures["benchmark"] == "training":
        rates = {x["recipe"]: x["images_per_second"]["median"] for x in figures["steps"]}
        return {f"{recipe}: images/s": rate for recipe, rate in rates.items()}
    found = {_rate_name(x["batch"]): x["rate"]["median"] for x in figures["throughput"]}
    found["share of RoIs"] = figures["share_per_roi"]["median"]
    found["network / products"] = figures["products"]["over_bare"]["median"]
    for x in figures["peers"]:
        found[f"{x['name']}, batch {x['batch']}: images/s"] = x["rate"]["median"]
    return found


def _rate_name(batch: int) -> str:
    return f"images/s, batch {batch}"


if __name__ == "__main__":
    sys.exit(run(__file__, __doc__, work, add=add))
