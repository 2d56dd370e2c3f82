import numpy as np
import pytest

from fcis.training.image_repeats import epoch_length, epoch_order, repeat_factors


def test_factors_by_hand():
    """Shares 1, 1/2, 1/8; of threshold 1/2 the last is a quarter."""
    images = [{1}, {1, 2}, {1}, {1, 2}, {1}, {1, 2, 3}, {1}, {1, 2}]
    assert repeat_factors(images, 0.5).tolist() == [1, 1, 1, 1, 1, 2, 1, 1]
    twice = np.sqrt(2)  # 1 / (1/2)
    expected = [1, twice, 1, twice, 1, np.sqrt(8), 1, twice]
    np.testing.assert_allclose(repeat_factors(images, 1.0), expected)
    assert repeat_factors(images, 0.0).tolist() == [1] * 8
    assert repeat_factors(images, 0.125).tolist() == [1] * 8  # none is rarer than that


def test_an_image_counts_once_for_a_category_however_many_objects_it_has():
    assert repeat_factors([[1, 1, 1], [2], [1], [1]], 1.0).tolist() == pytest.approx(
        [np.sqrt(4 / 3), 2, np.sqrt(4 / 3), np.sqrt(4 / 3)]
    )


def test_no_images_and_images_of_nothing():
    assert repeat_factors([], 0.5).shape == (0,)
    assert epoch_length(repeat_factors([], 0.5)) == 0
    assert epoch_order(repeat_factors([], 0.5), np.random.default_rng(0)).shape == (0,)
    assert repeat_factors([set(), {1}], 1.0).tolist() == pytest.approx([1, np.sqrt(2)])


def test_without_repetition_an_epoch_is_the_stream_s_permutation():
    order = epoch_order(np.ones(20), np.random.default_rng(7))
    assert order.tolist() == np.random.default_rng(7).permutation(20).tolist()


def test_whole_factors_are_kept_to_in_every_epoch():
    factors = np.array([1.0, 3.0, 1.0, 2.0])
    assert epoch_length(factors) == 7
    orders = [epoch_order(factors, np.random.default_rng(seed)).tolist() for seed in range(20)]
    assert {tuple(sorted(order)) for order in orders} == {(0, 1, 1, 1, 2, 3, 3)}
    assert len({tuple(order) for order in orders}) > 15


def test_frequencies_over_epochs_are_the_factors():
    """Mean counts are the factors, stretched to a whole length; each count is a neighbour."""
    factors = np.array([1.0, 1.25, 2.6, 1.0, 1.9, 1.05, 4.5])
    assert epoch_length(factors) == 14  # of 13.3
    stretched = factors * 14 / factors.sum()
    epochs, total = 4000, np.zeros(7)
    for seed in range(epochs):
        order = epoch_order(factors, np.random.default_rng((3, seed)))
        assert len(order) == 14
        counts = np.bincount(order, minlength=7)
        assert (counts >= np.floor(stretched)).all() and (counts <= np.ceil(stretched)).all()
        total += counts
    part = stretched - np.floor(stretched)
    error = np.sqrt(part * (1 - part) / epochs)
    assert (abs(total / epochs - stretched) < 4.5 * error + 1e-6).all()


def test_of_many_images_the_factors_are_hardly_stretched():
    images = [{1} for _ in range(999)] + [{1, 2}]
    factors = repeat_factors(images, 0.0125)
    assert factors[-1] == pytest.approx(np.sqrt(12.5))
    assert epoch_length(factors) == 1003  # of 1002.5
    counts = [
        int((epoch_order(factors, np.random.default_rng(s)) == 999).sum()) for s in range(300)
    ]
    assert set(counts) == {3, 4}
    assert np.mean(counts) == pytest.approx(np.sqrt(12.5), abs=0.12)


def test_neighbours_are_rounded_independently_of_their_places():
    """A fixed line would never repeat two neighbours of factor 1.5 in one epoch."""
    factors = np.full(10, 1.5)
    both = 0
    for seed in range(400):
        counts = np.bincount(epoch_order(factors, np.random.default_rng(seed)), minlength=10)
        assert counts.sum() == 15
        both += counts[0] == counts[1] == 2
    assert 55 <= both <= 125  # 2 / 9 of 400
