"""FCIS against its translation-invariant form (k = 1) on synthetic scenes, side by side.

On 500 held-out scenes: AP50 0.90, mAP^r at IoU 0.7 of 0.80, and k = 1 at least 0.10 below that.
"""

import sys

from common import Call, run
from results import Bar
from trainings import Run, add_training, changes, evaluate, rate, suffix, train_all

SCRIPT = "31-train-scenes"
FULL, INVARIANT = "scenes", "scenes-fcis-k1"
STEPS = 10_000
AP50, STRICT, BELOW = 0.90, 0.80, 0.10
_STRICT_NAME = "mAP_r@0.7"
# trained on, validated on, held out
_DATA = ("scenes:4000:0", "scenes:100:1", "scenes:500:2")
_TINY_DATA = ("scenes:4:0", "scenes:2:1", "scenes:3:2")
_TINY = ("zoom=0.5", "post_nms=10", "augmentation.crop=96", "batch=1", "workers=0")


def work(call: Call) -> None:
    """Train and evaluate both forms, and compare them."""
    steps = call.options.steps or (2 if call.quick else STEPS)
    train, val, held_out = _TINY_DATA if call.quick else _DATA
    found: dict[tuple[str, int], dict] = {}
    runs: dict[tuple[str, int], Run] = {}
    for seed in range(call.options.seeds or 1):
        for recipe in (FULL, INVARIANT):
            name = f"{recipe}-{steps}-{seed}{suffix(call)}"
            settings = (f"steps={steps}", f"seed={seed}", *(_TINY if call.quick else ()))
            runs[recipe, seed] = Run(
                name=name,
                recipe=recipe,
                train=train,
                val=val,
                folder=call.work / name,
                settings=(*settings, *call.options.set),
            )
    missing = [one for place, one in runs.items() if not call.known(_key(call, *place, steps))]
    outcomes = train_all(call, missing)
    for place, one in runs.items():
        key = _key(call, *place, steps)
        if line := call.known(key):
            found[place] = line["figures"]
        elif one.is_finished and (figures := evaluate(call, one, held_out)):
            found[place] = figures
            seconds = outcomes[one.name].seconds if one.name in outcomes else 0.0
            settings = {"settings": list(one.settings), "data": held_out}
            call.record(
                key,
                figures=figures | settings,
                shown=_shown(figures) | {"images/s": rate(one.folder)},
                bars=_bars(figures) if place[0] == FULL else [],
                seconds=seconds,
            )
    _compare(call, found, steps)


def _key(call: Call, recipe: str, seed: int, steps: int) -> dict[str, str | int]:
    return {"recipe": recipe, "steps": steps, "seed": seed, **changes(call)}


def _shown(figures: dict) -> dict[str, float | None]:
    return {"AP50": figures["segm"]["AP50"], _STRICT_NAME: figures["voc"][_STRICT_NAME]}


def _bars(figures: dict) -> list[Bar]:
    shown = _shown(figures)
    return [
        Bar(name="AP50", wanted=AP50, found=shown["AP50"]),
        Bar(name=_STRICT_NAME, wanted=STRICT, found=shown[_STRICT_NAME]),
    ]


def _compare(call: Call, found: dict[tuple[str, int], dict], steps: int) -> None:
    """Record how far k = 1 is below, for each seed of which both are there."""
    for seed in sorted({seed for _, seed in found}):
        pair = [found.get((recipe, seed)) for recipe in (FULL, INVARIANT)]
        key = _key(call, f"{FULL} - {INVARIANT}", seed, steps)
        if None in pair or call.known(key):
            continue
        strict = [_shown(figures)[_STRICT_NAME] for figures in pair if figures is not None]
        below = None if None in strict else strict[0] - strict[1]
        bar = Bar(name=f"{_STRICT_NAME}, difference", wanted=BELOW, found=below)
        call.record(key, figures={_STRICT_NAME: strict}, shown={}, bars=[bar], seconds=0.0)


if __name__ == "__main__":
    sys.exit(run(SCRIPT, __doc__, work, add=add_training, has_state=True))
