"""Medians and shares of stages."""

import pytest

from fcis.lab.benchmark.report import stage_times

RUNS = [{"b": 1.0, "a": 3.0}, {"b": 1.0, "a": 1.0}, {"a": 9.0, "b": 1.0, "extra": 10.0}]


def test_medians_in_the_order_of_the_pipeline():
    times = stage_times(RUNS, ("a", "never", "b"))
    assert list(times.seconds) == ["a", "b", "extra"]
    assert [seconds.median for seconds in times.seconds.values()] == [3, 1, 0]
    assert times.total.median == 4
    assert [times.share(name).median for name in times.seconds] == [0.5, 0.25, 0]


def test_the_share_of_several_stages_is_taken_within_runs():
    times = stage_times(RUNS, ())
    assert times.share("a", "b").median == 1
    assert times.share("a", "b").low == 0.75  # between 0.5 and 1
    assert times.share("absent").median == 0


def test_table_and_json():
    times = stage_times(RUNS[:1], ("a", "b"))
    assert times.table("T").rows == (
        ("a", "3000 ms", "75.0 %"),
        ("b", "1000 ms", "25.0 %"),
        ("total", "4000 ms", "100.0 %"),
    )
    found = times.to_json()
    assert found["total"] == {"median": 4, "low": 4, "high": 4}
    assert found["stages"]["b"]["share"]["median"] == 0.25
    assert list(found["stages"]) == ["a", "b"]


def test_a_clock_that_stands_still_gives_no_shares():
    assert stage_times([{"a": 0.0}], ()).share("a").median == 0


def test_there_must_be_a_run():
    with pytest.raises(ValueError, match="runs: expected at least one, got none"):
        stage_times([], ("a",))
