"""Exclusive sums by stage, and functions and modules that are watched for a while."""

import math
import types

import pytest
from torch import nn

from fcis.lab.benchmark.stopwatch import Stopwatch, watching


def test_an_inner_stage_pauses_the_outer_one(clock):
    watch = Stopwatch(clock)
    clock.now = 100.0  # before any stage: nobody's
    with watch.stage("outer"):
        clock.now += 1
        with watch.stage("inner"):
            clock.now += 10
        clock.now += 2
        with watch.stage("inner"):
            clock.now += 20
    clock.now += 1000
    with watch.stage("after"):
        clock.now += 4
    assert watch.take() == {"outer": 3, "inner": 30, "after": 4}
    assert watch.take() == {}


def test_a_stage_ends_with_an_error(clock):
    watch = Stopwatch(clock)

    def fail():
        with watch.stage("outer"), watch.stage("inner"):
            clock.now += 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with watch.stage("next"):
        clock.now += 2
    assert watch.take() == {"inner": 1, "outer": 0, "next": 2}


def test_functions_count_for_their_stages_in_turn(clock):
    def pass_time(seconds, *, more=0.0):
        clock.now += seconds + more
        return seconds

    module = types.ModuleType("example")
    module.passing = pass_time
    watch = Stopwatch(clock)
    watched = (module, "passing", ("first", "second"))
    with watching(watch, {}, [watched]):
        assert [module.passing(n, more=100.0) for n in (1, 2, 3)] == [1, 2, 3]
    assert watch.take() == {"first": 204, "second": 102}
    assert module.passing is pass_time


def test_modules_count_and_are_left_as_they_were(clock):
    class Slow(nn.Module):
        def forward(self, seconds):
            clock.now += seconds
            return 1 / seconds if seconds else math.nan / seconds

    inner = Slow()
    model = nn.Sequential(inner)
    watch = Stopwatch(clock)
    with watching(watch, {"model": model, "inner": inner}, []):
        assert model(2) == 0.5
        with pytest.raises(ZeroDivisionError):
            model(0)
        with watch.stage("later"):
            clock.now += 7
    assert watch.take() == {"model": 0, "inner": 2, "later": 7}
    model(5)
    assert watch.take() == {}


def test_what_was_watched_is_restored_after_an_error(clock):
    before = math.floor
    floor = (math, "floor", ("a",))
    with pytest.raises(KeyError), watching(Stopwatch(clock), {}, [floor]):
        raise KeyError
    assert math.floor is before


def test_methods_count_and_are_left_to_the_class(clock):
    class Slow(nn.Module):
        def work(self, seconds):
            clock.now += seconds
            return seconds

    model, watch = Slow(), Stopwatch(clock)
    with watching(watch, {}, [(model, "work", ("a", "b"))]):
        assert [model.work(n) for n in (1, 2, 3)] == [1, 2, 3]
    assert watch.take() == {"a": 4, "b": 2}
    assert "work" not in vars(model) and model.work.__func__ is Slow.work
