"""A clock that only moves when it is told to."""

import pytest


class FakeClock:
    """Seconds that pass when `work` is called."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def work(self, name, *seconds):
        """Return work that takes each of these durations in turn."""
        durations = iter(seconds)

        def call():
            self.calls.append(name)
            self.now += float(next(durations))

        return call


@pytest.fixture
def clock():
    return FakeClock()
