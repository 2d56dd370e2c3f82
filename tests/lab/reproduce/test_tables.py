"""Markdown, checked by hand."""

from dataclasses import replace

import pytest

from fcis.lab.benchmark.timing import Spread
from fcis.lab.environment import environment
from fcis.lab.reproduce.paper import TEST_SECONDS
from fcis.lab.reproduce.results import Entry, Results, Time
from fcis.lab.reproduce.statistics import Comparison, summarise
from fcis.lab.reproduce.tables import to_markdown, to_table

METRIC = "mAP_r@0.5"


def spread_at(median):
    return Spread(median=median, low=median, high=median)


def entry_of(row, values, comparison, seconds, ratio, operations=None):
    over_seeds = comparison is not None and comparison.over == "seeds"
    given = {METRIC: comparison} if comparison else {}
    times = {TEST_SECONDS: Time(seconds=spread_at(seconds), ratio=spread_at(ratio))}
    return Entry(
        name=row.name,
        label=row.label,
        values={METRIC: values},
        figures={METRIC: summarise(values)} if values else {},
        over_seeds=given if over_seeds else {},
        over_images={} if over_seeds else given,
        times=times,
        operations=operations,
        paper={METRIC: 52.5} if row.name == "fcis-k1" else {},
    )


@pytest.fixture
def results(plan):
    against = Comparison(difference=-0.25, low=-0.3, high=-0.2, p=0.04, over="seeds")
    return Results(
        plan=plan,
        entries=(
            entry_of(plan.rows[0], [0.25, 0.5, 0.75], against, 0.05, 0.5, 12_300_000_000),
            entry_of(plan.rows[1], [0.75, 0.75, 0.75], None, 0.1, 1.0),
        ),
        data=("scenes:40:0", "scenes:8:1"),
        budget="cpu",
        seeds=(0, 1, 2),
        images=8,
        environment=replace(environment("cpu"), device_name="an abacus", threads=2),
    )


TABLE = """\
Table 1: two networks

|             |   mAP^r 0.5 | mAP^r 0.5, paper |      mAP^r 0.5, difference | test, s an image \
| test, ratio | GFLOP an image |
| ----------- | ----------: | ---------------: | -------------------------: | ---------------: \
| ----------: | -------------: |
| FCIS, k = 1 | 50.0 ± 25.0 |             52.5 | -25.0 (-30.0 to -20.0), p 0.04 |             0.05 \
|        0.50 |           12.3 |
| FCIS        |  75.0 ± 0.0 |                - |                              - |              0.1 \
|        1.00 |              - |"""


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_by_hand(results):
    ours, known = to_table(results).text().splitlines(), TABLE.splitlines()
    assert ours[:2] == known[:2]
    for number in (2, 4, 5):
        assert cells(ours[number]) == cells(known[number])
    assert len({len(line) for line in ours[2:]}) == 1, "columns line up"


def test_the_notes_say_what_it_rests_on(results):
    text = to_markdown(results)
    assert text.endswith(".\n")
    for expected in (
        "trained on scenes:40:0, evaluated on 8 images of scenes:8:1",
        "from the recipe tiny with budget cpu: 8 steps each",
        "mean ± standard deviation of 3 seeds",
        "Differences are from FCIS, with 95 % intervals and p (paired t-test over 3 seeds).",
        "an abacus, 2 threads",
        "of VOC 2012 val",
    ):
        assert expected in text, expected
    assert "Another training may differ" not in text


def test_one_seed_says_so(results, plan):
    against = Comparison(difference=0.5, low=0.25, high=0.75, p=0.004, over="images")
    entries = (
        entry_of(plan.rows[0], [0.25], against, 0.05, 0.5),
        entry_of(plan.rows[1], [0.75], None, 0.1, 1.0),
    )
    text = to_markdown(replace(results, entries=entries, seeds=(0,)))
    assert "+50.0 (+25.0 to +75.0), p < 0.01" in text
    assert to_table(replace(results, entries=entries)).rows[0][1] == "25.0"
    assert "8 steps each, one seed." in text
    assert "(paired bootstrap over the 8 validation images)" in text
    assert "Another training may differ by more than these intervals say." in text
    assert "GFLOP" not in text, "a column without anything"


def test_rows_without_figures_have_dashes(results, plan):
    entries = (entry_of(plan.rows[0], [], None, 0.05, 0.5), results.entries[1])
    row = to_table(replace(results, entries=entries)).rows[0]
    assert row[1] == "-" and "0.50" in row


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.012345, "0.0123"), (1.27, "1.27"), (12.345, "12.3")]
)
def test_short_times_keep_their_digits(results, plan, seconds, shown):
    entries = (entry_of(plan.rows[0], [0.25], None, seconds, 0.5), results.entries[1])
    assert shown in to_table(replace(results, entries=entries)).rows[0]
