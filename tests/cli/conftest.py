import json

import pytest


@pytest.fixture
def predict(fcis, tiny_weights, tmp_path):
    """Run `fcis predict`, showing everything; returns (code, out, err, results)."""

    def run(*arguments, everything=True):
        shown = ("--score-threshold", 0) if everything else ()
        out = tmp_path / "out"
        code, stdout, stderr = fcis(
            "predict", *arguments, "--weights", tiny_weights, "--out", out, *shown
        )
        path = out / "predictions.json"
        results = json.loads(path.read_text()) if path.is_file() else None
        return code, stdout, stderr, results

    return run
