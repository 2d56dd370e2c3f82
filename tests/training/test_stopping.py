import math

import pytest

from fcis.training.stopping import Best


def seen(best, values):
    """Which of the values, ten steps apart, are the best when they come."""
    return [best.add(value, 10 * (i + 1)) for i, value in enumerate(values)]


def test_higher_is_better_and_equal_is_not():
    best = Best()
    assert (best.value, best.step, best.is_over) == (-1.0, 0, False)
    assert seen(best, [0.0, 0.3, 0.3, 0.2]) == [True, True, False, False]
    assert (best.value, best.step, best.stale) == (0.3, 20, 2)
    assert best.add(0.4, 50) and best.stale == 0


def test_a_lower_loss_is_better():
    best = Best("loss")
    assert seen(best, [4.0, 5.0, 3.0, 3.5]) == [True, False, True, False]
    assert (best.value, best.step) == (3.0, 30)


@pytest.mark.parametrize("metric", ["AP", "loss"])
def test_what_is_no_number_is_worse_than_any(metric):
    best = Best(metric)
    assert seen(best, [math.nan, 0.5, math.nan]) == [True, True, False]
    assert (best.value, best.step) == (0.5, 20)


def test_patience_counts_validations_since_the_best():
    best = Best(patience=2)
    over = []
    for step, value in enumerate([0.1, 0.05, 0.2, 0.2, 0.1], start=1):
        best.add(value, step)
        over.append(best.is_over)
    assert over == [False, False, False, False, True]
    endless = Best(patience=0)
    seen(endless, [0.5] + [0.1] * 50)
    assert not endless.is_over


def test_it_goes_on_from_its_state():
    first, second = Best(patience=3), Best(patience=3)
    seen(first, [0.3, 0.1, 0.2])
    second.load_state_dict(first.state_dict())
    assert (second.value, second.step, second.stale) == (0.3, 10, 2)
    assert not second.add(0.3, 40) and second.is_over
    old = Best()
    old.load_state_dict({"best": 0.25, "best_step": 7})  # of a run before there was patience
    assert (old.value, old.step, old.stale) == (0.25, 7, 0)
