"""Write the card of weights in the package from what they say of themselves and from results.

Results are lines of benchmarks/results/NAME.jsonl, which `benchmarks/zoo_result.py` writes, one for
each training of the same recipe. What stands in the card from the line `## Limits` on is
written by hand, pictures too, and stays when the card is made anew.

    python tools/zoo_card.py nuclei --results zoo-nuclei --seed 0 \\
        --command "fcis train --recipe nuclei --train train.json --val val.json --out runs/nuclei"
"""

import argparse
import statistics
from pathlib import Path

from fcis.core.size_text import size_text
from fcis.lab.journal import Journal
from fcis.weights.catalog import ZOO, zoo
from fcis.weights.weights_file import WeightsInfo, read_info

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
HAND = "## Limits\n"
FIRST_HAND = f"{HAND}\nNot written yet.\n"


def table(runs: list[dict], seed: int) -> list[str]:
    """Return the figures of the run with that seed, and mean and spread of all runs."""
    figures = [
        {k: v for k, v in run["segm"].items() if v is not None}
        | {f"correct at IoU {iou}": run["dsb"][iou] for iou in ("0.50", "0.75", "0.90")}
        for run in runs
    ]
    own = figures[[run["seed"] for run in runs].index(seed)]
    if len(runs) == 1:
        lines = ["| mask figure | one seed |", "| --- | --- |"]
        return lines + [f"| {name} | {value:.3f} |" for name, value in own.items()]
    lines = [
        f"| mask figure | these weights | mean of {len(runs)} seeds | standard deviation |",
        "| --- | --- | --- | --- |",
    ]
    for name, value in own.items():
        values = [f[name] for f in figures]
        mean, spread = statistics.mean(values), statistics.stdev(values)
        lines.append(f"| {name} | {value:.3f} | {mean:.3f} | {spread:.3f} |")
    return lines


def training(runs: list[dict], seed: int) -> list[str]:
    """Return how and where the run with that seed was trained."""
    run = next(run for run in runs if run["seed"] == seed)
    # older lines have these facts themselves
    found = run.get("environment", run)
    torch = found["torch"] if "torch" in found else found["versions"]["torch"]
    hardware = f"{found['processor']}, {found['threads']} thread(s)"
    if found.get("device", "cpu") != "cpu":
        hardware = found.get("device_name", found["device"])
    facts = {
        "seed": seed,
        "steps": run.get("steps"),
        "precision": run.get("precision"),
        "time": f"{run['minutes']:.0f} minutes" if "minutes" in run else None,
        "hardware": hardware,
        "figures": f"on {run['val']}, with commit {found['commit']}, torch {torch}",
    }
    return [f"- {name}: {value}" for name, value in facts.items() if value not in (None, "")]


def card(
    name: str, info: WeightsInfo, size: int, runs: list[dict], hand: str, *, seed: int, command: str
) -> str:
    """Return the text of the card."""
    lines = [
        f"# {name}: {info.about}",
        "",
        f"    fcis predict IMAGES --weights {name}",
        "",
        f"- trained on: {info.training_data}",
        f"- licence of the weights: {info.licence}",
        f"- classes: {', '.join(info.model.class_names)}",
        f"- file: {size_text(size)}, kernels in half precision",
        "",
        "## Training",
        "",
        f"    {command}",
        "",
        f"- recipe: {info.recipe}",
        *training(runs, seed),
        "",
        "## Figures",
        "",
        *table(runs, seed),
        "",
    ]
    return "\n".join(lines) + "\n" + hand


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--results", required=True, help="NAME of the .jsonl")
    parser.add_argument("--seed", type=int, required=True, help="of the run these weights are of")
    parser.add_argument("--command", required=True, help="that trains them anew")
    options = parser.parse_args()
    path, old = zoo()[options.name], ZOO / f"{options.name}.md"
    before = old.read_text() if old.is_file() else FIRST_HAND
    text = card(
        options.name,
        read_info(path),
        path.stat().st_size,
        Journal(RESULTS / f"{options.results}.jsonl").lines,
        before[before.index(HAND) :],
        seed=options.seed,
        command=options.command,
    )
    old.write_text(text)
    print(old)
