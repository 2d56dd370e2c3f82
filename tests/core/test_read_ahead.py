"""Items in order, a bounded number of them, and errors where they belong."""

import threading

import pytest

from fcis.core.read_ahead import read_ahead


def results(reads, threads):
    return [future.result() for future in read_ahead(reads, threads=threads)]


@pytest.mark.parametrize("threads", [1, 3, 20])
def test_the_order_is_kept(threads):
    def read(number):
        # every third has to wait for its successor, if that may begin
        if number % 3 == 0 and threads > 1 and number < 9:
            assert begun[number + 1].wait(10)
        begun[number].set()
        return number

    begun = [threading.Event() for _ in range(10)]
    reads = (lambda n=n: read(n) for n in range(10))
    assert results(reads, threads) == list(range(10))


def test_nothing_to_read():
    assert results([], 2) == []


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_next_ones_are_read_meanwhile_and_no_more(threads):
    begun = threading.Semaphore(0)
    count = []

    def read():
        count.append(1)
        begun.release()

    for number, future in enumerate(read_ahead([read] * 12, threads=threads)):
        future.result()
        ahead = min(threads, 12 - number - 1)
        # they begin although nobody asks for them
        while len(count) < number + 1 + ahead:
            assert begun.acquire(timeout=10)
        assert len(count) == number + 1 + ahead
    assert len(count) == 12


def test_an_error_comes_in_its_turn_and_the_others_go_on():
    def bad():
        raise OSError("bad")

    outcomes = []
    for future in read_ahead([lambda: 1, bad, lambda: 3], threads=2):
        try:
            outcomes.append(future.result())
        except OSError as error:
            outcomes.append(str(error))
    assert outcomes == [1, "bad", 3]


def test_stopping_early_begins_nothing_more():
    count, hold = [], threading.Event()

    def read(number):
        count.append(number)
        if number:
            assert hold.wait(10)

    each = read_ahead((lambda n=n: read(n) for n in range(9)), threads=1)
    next(each).result()
    each.close()
    hold.set()
    assert set(count) <= {0, 1}
    assert list(each) == []


def test_no_thread():
    with pytest.raises(ValueError, match="threads: expected at least 1, got 0"):
        next(read_ahead([lambda: 1], threads=0))
