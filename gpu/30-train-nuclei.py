"""The recipe `nuclei` on a GPU: three seeds side by side, and whether they reach the bars.

Masks on the validation set: AP50 0.91, AP 0.68, AP75 0.76, and 0.88 of the objects right at IoU
0.5 as the Data Science Bowl counts, TP / (TP + FP + FN).
"""

import statistics
import sys

from common import Call, run
from results import Bar
from trainings import Run, add_training, changes, evaluate, rate, suffix, train_all

from fcis.recipe.named import named_recipe

SCRIPT = "30-train-nuclei"
BARS = {"AP50": 0.91, "AP": 0.68, "AP75": 0.76}
DSB = ("0.50", 0.88)
SEEDS = 3


def work(call: Call) -> None:
    """Train and evaluate each seed that has no result."""
    recipe = "tiny" if call.quick else "nuclei"
    steps = call.options.steps or (2 if call.quick else named_recipe(recipe).training.steps)
    seeds = range(call.options.seeds or (1 if call.quick else SEEDS))
    keys = {
        seed: {"recipe": recipe, "steps": steps, "seed": seed, **changes(call)} for seed in seeds
    }
    missing = [seed for seed in seeds if not call.known(keys[seed])]
    train, val = (str(call.nuclei / f"{name}.json") for name in ("train", "val"))
    runs = {
        seed: Run(
            name=f"{recipe}-{steps}-{seed}{suffix(call)}",
            recipe=recipe,
            train=train,
            val=val,
            folder=call.work / f"{recipe}-{steps}-{seed}{suffix(call)}",
            settings=(f"steps={steps}", f"seed={seed}", *call.options.set),
        )
        for seed in missing
    }
    outcomes = train_all(call, list(runs.values()))
    for seed, one in runs.items():
        figures = evaluate(call, one, val) if one.is_finished else None
        if figures is None:
            continue
        bars = [Bar(name=n, wanted=w, found=figures["segm"][n]) for n, w in BARS.items()]
        bars.append(Bar(name=f"dsb@{DSB[0]}", wanted=DSB[1], found=figures["dsb"][DSB[0]]))
        seconds = outcomes[one.name].seconds if one.name in outcomes else 0.0
        shown = {"images/s": rate(one.folder)}
        settings = {"settings": list(one.settings)}
        call.record(keys[seed], figures=figures | settings, shown=shown, bars=bars, seconds=seconds)
    _tell_means(call, [line for key in keys.values() if (line := call.known(key))])


def _tell_means(call: Call, lines: list) -> None:
    """Note the means of all seeds."""
    for name, wanted in {**BARS, f"dsb@{DSB[0]}": DSB[1]}.items():
        values = [line["bars"][name]["found"] or 0.0 for line in lines]
        if len(values) > 1:
            call.notes.append(
                f"{name}: {statistics.mean(values):.3f} over {len(values)} seeds, "
                f"{min(values):.3f} to {max(values):.3f}, wanted {wanted}"
            )


if __name__ == "__main__":
    sys.exit(run(SCRIPT, __doc__, work, add=add_training, has_state=True))
