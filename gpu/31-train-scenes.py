"""FCIS against its translation-invariant form (k = 1) on synthetic scenes, side by side.

On 500 held-out scenes: AP50 0.90, mAP^r at IoU 0.7 of 0.80, and k = 1 at least 0.10 below that.
"""

import sys

from common import Call, run
from results import Bar
from trainings import add_training, changes, judge_all, make_run

from fcis.lab.journal import Line

FULL, INVARIANT = "scenes", "scenes-fcis-k1"
STEPS = 10_000
STRICT, BELOW = "mAP_r@0.7", 0.10
BARS = {"AP50": 0.90, STRICT: 0.80}
# trained on, validated on, held out
_DATA = ("scenes:4000:0", "scenes:100:1", "scenes:500:2")
_TINY_DATA = ("scenes:4:0", "scenes:2:1", "scenes:3:2")
_TINY = ("zoom=0.5", "post_nms=10", "augmentation.crop=96", "batch=1", "workers=0")


def work(call: Call) -> None:
    """Train and evaluate both forms, and compare them."""
    steps = call.options.steps or (2 if call.quick else STEPS)
    train, val, held_out = _TINY_DATA if call.quick else _DATA
    more = _TINY if call.quick else ()
    seeds = range(call.options.seeds or 1)
    runs = {
        (recipe, seed): make_run(call, recipe, steps, seed, (train, val), more=more, wanted=wanted)
        for seed in seeds
        for recipe, wanted in ((FULL, BARS), (INVARIANT, {}))
    }
    lines = judge_all(call, list(runs.values()), held_out, tuple(BARS))
    for seed in seeds:
        pair = [lines.get(runs[recipe, seed].name) for recipe in (FULL, INVARIANT)]
        _compare(call, pair, {"steps": steps, "seed": seed, **changes(call)})


def _compare(call: Call, pair: list[Line | None], more: dict[str, str | int]) -> None:
    """Record how far k = 1 is below, once both are there."""
    key = {"recipe": f"{FULL} - {INVARIANT}", **more}
    if None in pair or call.known(key):
        return
    strict = [line["figures"]["voc"][STRICT] for line in pair if line is not None]
    below = None if None in strict else strict[0] - strict[1]
    bar = Bar(name=f"{STRICT}, difference", wanted=BELOW, found=below)
    call.record(key, figures={STRICT: strict}, shown={}, bars=[bar], seconds=0.0)


if __name__ == "__main__":
    sys.exit(run(__file__, __doc__, work, add=add_training, has_state=True))
