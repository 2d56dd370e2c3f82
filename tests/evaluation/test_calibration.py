"""The fit against known distortions, closed forms and an optimiser that shares no code with it."""

import numpy as np
import pytest
from scipy import optimize, special

from fcis.core.errors import InputError
from fcis.evaluation.calibration import Calibration, fit_calibration, log_loss, log_odds


def drawn(*, seed, n, temperature=1.0, bias=0.0):
    """Scores that `Calibration(temperature, bias)` makes honest, and what came true."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1.0, 2.0, n)
    is_right = rng.random(n) < special.expit(odds)
    return special.expit((odds - bias) * temperature), is_right


def smoothed_loss(scores, is_right):
    """The loss that the fit is said to minimise, by temperature and bias."""
    right, wrong = is_right.sum(), (~is_right).sum()
    targets = np.where(is_right, (right + 1) / (right + 2), 1 / (wrong + 2))

    def loss(at):
        p = special.expit(special.logit(scores) / at[0] + at[1])
        return -(special.xlogy(targets, p) + special.xlogy(1 - targets, 1 - p)).mean()

    return loss


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (2.5, 0.0), (0.5, -1.0), (1.6, 0.7)])
def test_a_known_distortion_is_found(temperature, bias):
    scores, is_right = drawn(seed=1, n=200_000, temperature=temperature, bias=bias)
    found = fit_calibration(scores, is_right)
    assert found.temperature == pytest.approx(temperature, rel=0.02)
    assert found.bias == pytest.approx(bias, abs=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_another_optimiser(seed):
    scores, is_right = drawn(seed=seed, n=400, temperature=1.8, bias=-0.4)
    found = fit_calibration(scores, is_right)
    loss = smoothed_loss(scores, is_right)
    options = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 5000}
    other = optimize.minimize(loss, [1.0, 0.0], method="Nelder-Mead", options=options)
    assert other.success
    assert [found.temperature, found.bias] == pytest.approx(other.x.tolist(), abs=1e-4)
    assert loss([found.temperature, found.bias]) <= other.fun + 1e-12


def test_no_point_of_a_grid_is_better():
    scores, is_right = drawn(seed=7, n=300, temperature=0.7, bias=0.2)
    found = fit_calibration(scores, is_right)
    loss = smoothed_loss(scores, is_right)
    best = loss([found.temperature, found.bias])
    for temperature in np.geomspace(0.1, 10, 41):
        for bias in np.linspace(-3, 3, 41):
            assert loss([temperature, bias]) >= best


def test_two_scores_get_their_own_shares():
    # as many parameters as there are scores: each gets the mean of its targets
    scores = np.repeat([0.2, 0.9], [60, 40])
    is_right = np.concatenate([np.arange(60) < 15, np.arange(40) < 30])
    after = fit_calibration(scores, is_right).apply(np.array([0.2, 0.9]))
    high, low = 46 / 47, 1 / 57
    expected = [(15 * high + 45 * low) / 60, (30 * high + 10 * low) / 40]
    np.testing.assert_allclose(after, expected, rtol=1e-5)


def test_scores_that_tell_right_from_wrong_perfectly_have_a_finite_temperature():
    scores = np.concatenate([np.linspace(0.01, 0.3, 20), np.linspace(0.6, 0.99, 20)])
    found = fit_calibration(scores, scores > 0.5)
    assert 0.05 < found.temperature < 1
    assert found.apply(scores).max() < 1


def test_scores_of_exactly_0_and_1_can_be_wrong_and_right():
    scores = np.repeat([0.0, 0.5, 1.0], 20)
    is_right = np.arange(60) % 20 < np.repeat([1, 10, 19], 20)
    after = fit_calibration(scores, is_right).apply(np.array([0.0, 0.5, 1.0]))
    assert after == pytest.approx([0.05, 0.5, 0.95], abs=0.03)


def test_what_tells_too_little_is_refused():
    scores = np.linspace(0.1, 0.9, 40)
    for right in (9, 31):
        with pytest.raises(
            InputError,
            match=rf"calibration: {right} detections are right and {40 - right} wrong, expected "
            "at least 10 of each; take more images",
        ):
            fit_calibration(scores, np.arange(40) < right)
    with pytest.raises(InputError, match="0 detections are right and 0 wrong"):
        fit_calibration(np.zeros(0), np.zeros(0, dtype=bool))
    with pytest.raises(InputError, match="right detections do not score higher than wrong ones"):
        fit_calibration(scores, scores < 0.5)


def test_scores_that_are_all_equal_become_their_share():
    scores, is_right = np.full(40, 0.6), np.arange(40) < 10
    after = fit_calibration(scores, is_right).apply(scores)
    assert after[0] == pytest.approx(10 / 40, abs=0.03)


def test_by_hand():
    # odds 9 to 1 with temperature 2 are 3 to 1, and e times as much with bias 1
    scores = np.array([0.9, 0.5, 0.1])
    half = Calibration(temperature=2.0).apply(scores)
    np.testing.assert_allclose(half, [0.75, 0.5, 0.25], rtol=1e-6)
    e = np.e
    shifted = Calibration(temperature=2.0, bias=1.0).apply(scores)
    np.testing.assert_allclose(shifted, [3 * e / (1 + 3 * e), e / (1 + e), e / (3 + e)], rtol=1e-6)
    assert shifted.dtype == np.float32
    assert Calibration(temperature=1.0).apply(np.zeros((0,))).shape == (0,)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7, 4.0])
@pytest.mark.parametrize("bias", [-2.0, 0.0, 1.0])
def test_the_order_stays(temperature, bias):
    scores = np.sort(np.random.default_rng(2).random(5000).astype(np.float32))
    below = np.nextafter(np.float32(1), np.float32(0))
    scores = np.concatenate([[np.float32(0)], scores, [below, np.float32(1)]])
    after = Calibration(temperature=temperature, bias=bias).apply(scores)
    assert (np.diff(after) >= 0).all() and after.min() >= 0 and after.max() <= 1
    assert np.isfinite(log_odds(scores)).all() and (np.diff(log_odds(scores)) >= 0).all()
    if temperature > 1 and bias <= 0:
        assert after[-2] < after[-1] < 1


def test_the_floor_lets_the_same_scores_pass():
    found = Calibration(temperature=1.7, bias=-1.3)
    limit = np.float32(0.001)
    around = [limit]
    for _ in range(40):
        around = [np.nextafter(around[0], np.float32(0)), *around]
        around = [*around, np.nextafter(around[-1], np.float32(1))]
    scores = np.array(around, dtype=np.float32)
    passes = found.apply(scores).astype(np.float64) >= found.floor(0.001)
    assert passes[scores.astype(np.float64) >= 0.001].all() and not passes[:30].any()


def test_log_loss():
    assert log_loss(np.array([0.5, 0.5]), np.array([True, False])) == pytest.approx(np.log(2))
    loss = log_loss(np.array([0.9, 0.2]), np.array([True, False]))
    assert loss == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2)
    assert log_loss(np.zeros(0), np.zeros(0, dtype=bool)) == 0.0
    assert np.isfinite(log_loss(np.array([1.0]), np.array([False])))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected above 0, got 0.0"),
        ({"temperature": -1.0}, "temperature: expected above 0, got -1.0"),
        ({"temperature": float("nan")}, "temperature: expected above 0, got nan"),
        ({"temperature": 1.0, "bias": float("inf")}, "bias: expected a finite number, got inf"),
    ],
)
def test_numbers_that_make_no_sense(values, message):
    with pytest.raises(ValueError, match=message):
        Calibration(**values)
