"""The recipe `nuclei` on a GPU: three seeds side by side, and whether they reach the bars.

Masks on the validation set: AP50 0.91, AP 0.68, AP75 0.76, and 0.88 of the objects right at IoU
0.5 as the Data Science Bowl counts, TP / (TP + FP + FN).
"""

import statistics
import sys

from common import Call, run
from trainings import add_training, judge_all, make_run

from fcis.recipe.named import named_recipe

BARS = {"AP50": 0.91, "AP": 0.68, "AP75": 0.76, "dsb@0.50": 0.88}
SEEDS = 3


def work(call: Call) -> None:
    """Train and evaluate each seed that has no result."""
    recipe = "tiny" if call.quick else "nuclei"
    steps = call.options.steps or (2 if call.quick else named_recipe(recipe).training.steps)
    seeds = range(call.options.seeds or (1 if call.quick else SEEDS))
    data = (str(call.nuclei / "train.json"), str(call.nuclei / "val.json"))
    runs = [make_run(call, recipe, steps, seed, data, wanted=BARS) for seed in seeds]
    lines = judge_all(call, runs, data[1], tuple(BARS))
    for name, wanted in BARS.items() if len(lines) > 1 else ():
        values = [line["bars"][name]["found"] or 0.0 for line in lines.values()]
        call.notes.append(
            f"{name}: {statistics.mean(values):.3f} over {len(values)} seeds, "
            f"{min(values):.3f} to {max(values):.3f}, wanted {wanted}"
        )


if __name__ == "__main__":
    sys.exit(run(__file__, __doc__, work, add=add_training, has_state=True))
