"""Tests and intervals against scipy, closed forms, and chance that is made on purpose."""

import numpy as np
import pytest
from scipy import stats

from fcis.lab.reproduce.outcomes import CategoryOutcomes, Outcomes
from fcis.lab.reproduce.statistics import over_images, over_seeds, resampled, summarise


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_the_t_test_is_that_of_scipy(count):
    random = np.random.default_rng(count)
    values, others = random.normal(0.5, 0.1, count), random.normal(0.4, 0.1, count)
    found = over_seeds(values.tolist(), others.tolist())
    known = stats.ttest_rel(values, others)
    assert found.p == pytest.approx(known.pvalue)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.difference == pytest.approx(float(np.mean(values - others)))
    assert found.over == "seeds"


def test_equal_differences_have_no_width():
    found = over_seeds([0.75, 0.5, 0.25], [0.5, 0.25, 0.0])
    assert (found.difference, found.low, found.high, found.p) == (0.25, 0.25, 0.25, 0.0)
    same = over_seeds([0.5, 0.25], [0.5, 0.25])
    assert (same.difference, same.p) == (0.0, 1.0)


@pytest.mark.parametrize(("values", "others"), [([], []), ([1.0], [2.0]), ([1.0, 2.0], [1.0])])
def test_the_t_test_needs_pairs(values, others):
    with pytest.raises(ValueError, match="values, others: expected two pairs or more, got"):
        over_seeds(values, others)


def test_spread():
    found = summarise([0.25, 0.5, 0.75])
    assert (found.mean, found.deviation, found.count) == (0.5, 0.25, 3)
    assert summarise([0.5]).deviation is None
    with pytest.raises(ValueError, match="values: expected at least one"):
        summarise([])


def found_in(shares):
    """Return a run in which an image has one instance, found first of all or not at all.

    Its mAP^r is a function of the share of images with a hit alone.
    """
    hits = np.array(shares, dtype=bool)
    image = np.flatnonzero(hits)
    category = CategoryOutcomes(
        image=image,
        hits=np.ones((1, len(image)), dtype=bool),
        wrong=np.zeros((1, len(image)), dtype=bool),
        truth=np.ones(len(hits), dtype=np.int64),
    )
    return Outcomes(metric="AP50", images=len(hits), categories=(category,))


def test_samples_spread_as_a_binomial_does():
    """Recall of a sample of n images with share p found: mean p, variance p (1 - p) / n."""
    images, share = 100, 0.3
    run = found_in(np.arange(images) < share * images)
    figures = resampled([run], draws=4000)
    # 101 levels of recall from 0 to 1, those up to the recall are reached
    recalls = (101 * figures - 1) / 100
    assert np.mean(recalls) == pytest.approx(share, abs=0.004)
    assert np.var(recalls) == pytest.approx(share * (1 - share) / images, rel=0.08)


def test_rows_see_the_same_samples():
    run = found_in([1, 0, 1, 1, 0, 1, 0, 0])
    first, second = resampled([run], draws=50), resampled([run, run], draws=50)
    assert (first == second).all() and len(set(first)) > 3
    assert (resampled([run], draws=50, seed=1) != first).any()


def test_the_paired_bootstrap_sees_what_pairing_shows():
    """Two rows that differ in few images: each alone is uncertain, their difference is not."""
    base = np.arange(200) % 2 == 0
    better = base.copy()
    better[1:31:2] = True  # 15 more of 200
    ours, other = resampled([found_in(better)]), resampled([found_in(base)])
    found = over_images(0.075, ours, other)
    assert found.over == "images" and found.p < 0.01
    assert 0 < found.low < 0.075 < found.high < 0.12
    unpaired = over_images(0.075, ours, resampled([found_in(base)], seed=1))
    assert unpaired.high - unpaired.low > 1.5 * (found.high - found.low)


def test_p_of_the_bootstrap_by_hand():
    ours = np.array([1.0] * 97 + [-1.0] * 2)
    found = over_images(0.9, ours, np.zeros(99))
    assert found.p == pytest.approx(2 * 3 / 100)
    assert over_images(-0.9, -ours, np.zeros(99)).p == found.p
    assert over_images(0.0, np.zeros(99), np.zeros(99)).p == 1.0


def test_runs_of_other_images_are_refused():
    with pytest.raises(ValueError, match=r"runs: expected runs with the same images, got \[2, 3\]"):
        resampled([found_in([1, 0]), found_in([1, 0, 1])])
    with pytest.raises(ValueError, match="runs: expected runs"):
        resampled([])
