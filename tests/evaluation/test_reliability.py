import numpy as np
import pytest

from fcis.evaluation.reliability import BINS, draw_reliability, reliability


def slow_ece(scores, is_right):
    """The error from its description, an interval at a time."""
    error = 0.0
    for i in range(BINS):
        last = i == BINS - 1
        inside = [
            (s, r)
            for s, r in zip(scores, is_right, strict=True)
            if i <= s * BINS and (s * BINS < i + 1 or last)
        ]
        if inside:
            mean = sum(s for s, _ in inside) / len(inside)
            share = sum(r for _, r in inside) / len(inside)
            error += len(inside) / len(scores) * abs(mean - share)
    return error


def test_by_hand():
    scores = np.array([0.04, 0.05, 0.95, 1.0])
    found = reliability(scores, np.array([False, True, True, True]))
    assert found.counts.tolist() == [2, *[0] * 13, 2]
    assert found.scores[[0, 7, 14]] == pytest.approx([0.045, 0, 0.975])
    assert found.right[[0, 7, 14]] == pytest.approx([0.5, 0, 1])
    assert found.ece == pytest.approx((2 * 0.455 + 2 * 0.025) / 4)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_slow_reference(seed):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.beta(0.4, 0.8, 700), 2)  # many at 0 and 1, and equal ones
    is_right = rng.random(700) < scores**2
    found = reliability(scores, is_right)
    assert found.counts.sum() == 700
    assert found.ece == pytest.approx(slow_ece(scores, is_right), abs=1e-12)
    assert found.ece > 0.05


def test_honest_scores_have_no_error_and_reversed_ones_much():
    rng = np.random.default_rng(3)
    scores = rng.random(100_000)
    assert reliability(scores, rng.random(100_000) < scores).ece < 0.01
    # half of the time 3/4 where 1/4 is right
    assert reliability(scores, rng.random(100_000) < 1 - scores).ece == pytest.approx(0.5, abs=0.01)


def test_without_detections():
    found = reliability(np.zeros(0), np.zeros(0, dtype=bool))
    assert found.ece == 0.0 and found.counts.tolist() == [0] * BINS
    assert draw_reliability({"scores": found}).axes


def test_the_picture_shows_each_curve():
    rng = np.random.default_rng(4)
    scores = rng.random(300) * 0.5
    first = reliability(scores, rng.random(300) < scores)
    second = reliability(scores * 2, rng.random(300) < scores)
    figure = draw_reliability({"before": first, "after": second})
    upper, lower = figure.axes
    _, *lines = upper.get_lines()
    for line, curve in zip(lines, (first, second), strict=True):
        filled = curve.counts > 0
        np.testing.assert_array_equal(line.get_xdata(), curve.scores[filled])
        np.testing.assert_array_equal(line.get_ydata(), curve.right[filled])
    texts = [text.get_text() for text in upper.get_legend().get_texts()]
    assert texts == ["honest", f"before, error {first.ece:.3f}", f"after, error {second.ece:.3f}"]
    assert len(lower.patches) == 2
