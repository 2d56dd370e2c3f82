"""What a finished table says of figures that are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fcis.lab.environment import environment
from fcis.lab.reproduce.paper import TEST_SECONDS, TRAIN_SECONDS
from fcis.lab.reproduce.results import Results, make_entries, sample_images

METRIC = "mAP_r@0.5"


def entries_of(plan, ours, other, **more):
    values = {"fcis-k1": {METRIC: ours}, "fcis": {METRIC: other}}
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.01, 200)
    samples = {
        "fcis-k1": {METRIC: np.mean(ours) + noise + random.normal(0, 0.001, 200)},
        "fcis": {METRIC: np.mean(other) + noise},
    }
    return make_entries(plan, values, samples, more.get("times", {}), more.get("operations", {}))


def test_three_seeds_are_compared_by_seeds(plan):
    ours, other = [0.25, 0.5, 0.25], [0.5, 0.625, 0.75]
    entry, reference = entries_of(plan, ours, other)
    assert entry.figures[METRIC].mean == pytest.approx(1 / 3)
    assert entry.comparison(METRIC).p == pytest.approx(stats.ttest_rel(ours, other).pvalue)
    assert entry.comparison(METRIC).over == "seeds"
    assert entry.over_images[METRIC].difference == pytest.approx(-0.875 / 3)
    assert reference.comparison(METRIC) is None


def test_one_seed_is_compared_by_images(plan):
    entry, _ = entries_of(plan, [0.4], [0.5])
    found = entry.comparison(METRIC)
    assert found.over == "images" and not entry.over_seeds
    assert found.difference == pytest.approx(-0.1)
    # the noise that both have is gone: 4 deviations of 0.001 instead of 4 of 0.01
    assert found.high - found.low == pytest.approx(0.004, rel=0.2)


def test_times_are_ratios_within_a_round(plan):
    rounds = {
        TEST_SECONDS: {"fcis-k1": [1.0, 4.0, 3.0], "fcis": [2.0, 4.0, 4.0]},
        TRAIN_SECONDS: {"fcis": [1.0, 1.0, 1.0]},
    }
    entry, reference = entries_of(plan, [0.5], [0.5], times=rounds, operations={"fcis": 7})
    assert entry.times[TEST_SECONDS].seconds.median == 3.0
    assert entry.times[TEST_SECONDS].ratio.median == 0.75
    assert set(entry.times) == {TEST_SECONDS}
    assert set(reference.times) == {TEST_SECONDS, TRAIN_SECONDS}
    assert (entry.operations, reference.operations) == (None, 7)
    assert entry.paper[METRIC] == 52.5 and reference.paper[METRIC] == 65.7


def test_rows_without_figures_have_times_alone(plan):
    rows = (replace(plan.rows[0], has_figures=False), plan.rows[1])
    values = {"fcis": {METRIC: [0.5]}}
    samples = {"fcis": {METRIC: np.zeros(9)}}
    rounds = {TEST_SECONDS: {"fcis-k1": [1.0], "fcis": [2.0]}}
    entry, _ = make_entries(replace(plan, rows=rows), values, samples, rounds, {})
    assert not entry.figures and entry.comparison(METRIC) is None
    assert entry.times[TEST_SECONDS].ratio.median == 0.5


def test_results_become_json(plan):
    results = Results(
        plan=plan,
        entries=entries_of(plan, [0.25, 0.5, 0.25], [0.5, 0.625, 0.75]),
        data=("scenes:3:0", "scenes:2:1"),
        budget="cpu",
        seeds=(0, 1, 2),
        images=2,
        environment=environment("cpu"),
    )
    data = json.loads(json.dumps(results.to_json()))
    assert (data["table"], data["steps"], data["recipe"]) == ("table1", 8, "tiny")
    row = data["rows"][0]
    assert row["values"] == {METRIC: [0.25, 0.5, 0.25]}
    assert row["figures"][METRIC]["count"] == 3
    assert row["over_seeds"][METRIC]["difference"] == pytest.approx(-0.875 / 3)
    assert row["over_images"][METRIC]["over"] == "images"
    assert data["rows"][1]["over_images"] == {}


def test_samples_of_what_was_detected(job, said):
    """The truth itself as detections has the figure 1 on every sample."""
    truth = job.sources.val.to_coco()
    perfect = [
        {name: a[name] for name in ("image_id", "category_id", "bbox", "segmentation")}
        | {"score": 0.9}
        for a in truth["annotations"]
    ]
    for row, found in zip(job.plan.rows, (perfect, []), strict=True):
        for seed in job.seeds:
            path = job.detections(row, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found))
    samples = sample_images(job)
    assert (samples["fcis-k1"][METRIC] == 1).all()
    assert (samples["fcis"][METRIC] == 0).all()
    assert len(said) == 2
