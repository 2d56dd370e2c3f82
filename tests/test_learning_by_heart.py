"""Every system of the paper learns eight scenes by heart, from scratch, as its benchmark has it.

Whoever fails here has a fault and not a weakness: no two objects of one category touch.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def overfit_systems(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    name = "overfit_systems"
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    "system", ["instfcn-rfcn", "mnc", "fcis-k1", "naive-mnc", "fcis", "fcis-separate"]
)
def test_learns_eight_scenes(system, tmp_path, monkeypatch, no_shape_checks):
    found = overfit_systems(monkeypatch).learn(system, tmp_path / "run")
    assert found["segm"]["AP50"] >= 0.9
