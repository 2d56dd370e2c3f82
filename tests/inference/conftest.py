"""Fixtures for the tests of prediction."""

import pytest

from fcis.inference.predictor import load_predictor


@pytest.fixture(scope="module")
def tiny_predictor(tiny_weights):
    return load_predictor(tiny_weights)
