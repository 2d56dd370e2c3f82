"""Fixtures for the tests of the network."""

from functools import partial

import pytest

from fcis.model import voting


@pytest.fixture(params=[False, True], ids=["in turn", "together"])
def both_countings(request, monkeypatch):
    """Count votes in both ways: as on a CPU, and as on every other device."""
    monkeypatch.setattr(voting, "vote", partial(voting.vote, together=request.param))
