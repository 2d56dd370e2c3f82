"""The method on a clock that is moved by hand."""

from dataclasses import asdict

import pytest
import torch

from fcis.lab.benchmark.timing import Method, Spread, alternate, device_clock, ratio, spread


def test_works_take_turns_and_the_warm_up_does_not_count(clock):
    works = {"a": clock.work("a", 9, 9, 1, 2), "b": clock.work("b", 9, 9, 4, 6)}
    found = alternate(works, Method(rounds=2, warm_up=2, least_seconds=0.0), clock)
    assert found == {"a": [1, 2], "b": [4, 6]}
    assert clock.calls == ["a", "a", "b", "b", "a", "b", "a", "b"]


def test_fast_work_is_repeated_within_a_round(clock):
    works = {"fast": clock.work("fast", *[0.25] * 9), "slow": clock.work("slow", 3, 3, 3)}
    found = alternate(works, Method(rounds=2, least_seconds=1.0), clock)
    assert found == {"fast": [0.25, 0.25], "slow": [3, 3]}
    assert clock.calls == ["fast", "slow", *["fast"] * 4, "slow", *["fast"] * 4, "slow"]


def test_work_that_takes_no_time_is_called_once(clock):
    found = alternate({"a": clock.work("a", 0, 0)}, Method(rounds=1), clock)
    assert found == {"a": [0]}


def test_ratios_are_taken_within_rounds():
    # the machine is half as fast in the last round, which a ratio of sums would mix in
    found = ratio([2.0, 4.0, 30.0], [1.0, 2.0, 10.0])
    assert found == Spread(median=2.0, low=2.0, high=2.5)
    assert asdict(found) == {"median": 2, "low": 2, "high": 2.5}
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0], [1.0, 2.0])


def test_spread():
    assert spread([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(median=3.0, low=2.0, high=4.0)
    assert spread([1.0, 2.0]) == Spread(median=1.5, low=1.25, high=1.75)
    assert spread([7.0]) == Spread(median=7.0, low=7.0, high=7.0)
    with pytest.raises(ValueError, match="values: expected at least one, got none"):
        spread([])


@pytest.mark.parametrize("name", ["rounds", "warm_up"])
def test_a_method_measures(name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        Method(**{name: 0})


def test_the_clock_of_a_cpu_goes_forward():
    clock = device_clock("cpu")
    start = clock()
    assert clock() >= start


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_the_clock_waits_for_the_device(monkeypatch, kind):
    waited = []
    monkeypatch.setattr(getattr(torch, kind), "synchronize", lambda *args: waited.append(args))
    device_clock(kind)()
    assert waited == ([("cuda",)] if kind == "cuda" else [()])
