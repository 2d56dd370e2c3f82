"""The picture shows the figures of the table."""

from dataclasses import replace

import numpy as np
import pytest

from fcis.lab.environment import environment
from fcis.lab.reproduce.figures import draw
from fcis.lab.reproduce.paper import TEST_SECONDS
from fcis.lab.reproduce.results import Results, make_entries

METRIC = "mAP_r@0.5"


@pytest.fixture
def results(plan):
    values = {"fcis-k1": {METRIC: [0.25, 0.5]}, "fcis": {METRIC: [0.75, 0.5]}}
    samples = {name: {METRIC: np.zeros(5)} for name in values}
    rounds = {TEST_SECONDS: {"fcis-k1": [1.0, 2.0], "fcis": [2.0, 4.0]}}
    return Results(
        plan=plan,
        entries=make_entries(plan, values, samples, rounds, {}),
        data=("a", "b"),
        budget="cpu",
        seeds=(0, 1),
        images=2,
        environment=environment("cpu"),
    )


def test_bars_are_ours_and_marks_are_the_papers(results):
    figures, times = draw(results).axes
    assert [bar.get_width() for bar in figures.patches] == pytest.approx([37.5, 62.5])
    (marks,) = (line for line in figures.lines if line.get_marker() == "D")
    assert list(marks.get_xdata()) == [52.5, 65.7]
    assert [bar.get_width() for bar in times.patches] == pytest.approx([0.5, 1.0])
    assert not [line for line in times.lines if line.get_marker() == "D"], "no time is printed"
    assert [text.get_text() for text in figures.get_yticklabels()] == ["FCIS, k = 1", "FCIS"]


def test_ratios_of_the_paper_are_marked_where_it_has_times(results):
    entries = tuple(
        replace(entry, paper={TEST_SECONDS: seconds})
        for entry, seconds in zip(results.entries, (1.37, 0.24), strict=True)
    )
    _, times = draw(replace(results, entries=entries)).axes
    (marks,) = (line for line in times.lines if line.get_marker() == "D")
    assert list(marks.get_xdata()) == pytest.approx([1.37 / 0.24, 1.0])


def test_it_can_be_written(results, tmp_path):
    draw(results).savefig(tmp_path / "table.png")
    assert (tmp_path / "table.png").stat().st_size > 5000
