"""The ladder of the competition entry, on nuclei (Paper: 4.3, table 4).

It is `fcis reproduce table4` from the recipe `nuclei-cpu`, cut short, with an ensemble of networks
of three shapes. Four networks are trained from scratch, each for a few minutes on a CPU: one at a
single scale, the same at random scales, and two of other shapes and seeds at random scales. Then
each row of the paper's table adds one tool to those above it, and the rows take turns on the same
images for the time of one. What is done is not done again, an interrupted training goes on; the
finished table is in the folder, and one JSON line in the results.

    python benchmarks/table4.py path/to/nuclei --out runs/table4 --steps 420
"""

import argparse
from dataclasses import replace
from pathlib import Path

from records import record_once

from fcis.inference.test_time.scales import read_scales
from fcis.lab.reproduce.make_table import finish
from fcis.lab.reproduce.rows import Plan, Training
from fcis.lab.reproduce.running import Job, open_journal, train_missing
from fcis.lab.reproduce.sources import open_sources
from fcis.lab.reproduce.table_plans import make_plan
from fcis.recipe.reading import read_recipe, with_settings

NAME = "table4"
SCALES, ROI_SIDE = "0.7x,1x,1.4x", 45.0
METRICS = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "dsb@0.50": "dsb at 0.5"}
FURTHER = {
    "ensemble-2": ("backbone.depths=[1,1,2,1]", "backbone.widths=[24,64,96,128]"),
    "ensemble-3": ("backbone.widths=[24,64,112,160]",),
}


def plan(steps: int, scales: str = SCALES, roi_side: float = ROI_SIDE) -> Plan:
    """Return the paper's table with these networks, tested at these scales."""
    known = make_plan(NAME, read_recipe("nuclei-cpu", [f"steps={steps}", "validate_every=0"]))
    multi = known.training("multi-scale")
    further = [
        Training(name=name, recipe=with_settings(multi.recipe, shape), seed_offset=seed)
        for seed, (name, shape) in enumerate(FURTHER.items(), start=1)
    ]
    tested = read_scales(scales.split(","))
    rows = [
        replace(row, averaging=replace(row.averaging, scales=tested, roi_side=roi_side))
        if row.averaging.scales
        else row
        for row in known.rows
    ]
    trainings = (known.training("single-scale"), multi, *further)
    return replace(known, metrics=METRICS, trainings=trainings, rows=tuple(rows))


def main() -> None:
    """Train and evaluate what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path, help="folder with train.json, val.json and images/")
    parser.add_argument("--out", type=Path, default=Path("runs/table4"))
    parser.add_argument("--steps", type=int, default=420)
    parser.add_argument("--scales", default=SCALES, help="of multi-scale testing")
    parser.add_argument("--roi-side", type=float, default=ROI_SIDE, help="px, of the same")
    parser.add_argument("--train-only", action="store_true", help="leave the rows out")
    options = parser.parse_args()
    settings = {"steps": options.steps, "scales": options.scales, "roi_side": options.roi_side}
    job = Job(
        plan=plan(**settings),
        sources=open_sources(str(options.nuclei)),
        seeds=(0,),
        folder=options.out,
        device="cpu",
        tell=print,
    )
    journal = open_journal(job.folder)
    if options.train_only:
        train_missing(job, journal)
    else:
        budget = f"{options.steps} steps"
        key = {"table": NAME, **settings}
        record_once(NAME, key, lambda: finish(job, journal, budget).to_json())


if __name__ == "__main__":
    main()
