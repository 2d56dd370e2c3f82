"""The comparison checks itself, and its figures are what they are called."""

import json
from dataclasses import replace

import pytest
import torch

from fcis.lab.benchmark import ops
from fcis.lab.benchmark.ops import OpsSettings, run_ops
from fcis.lab.benchmark.timing import Method
from fcis.lab.benchmark.workload import Size

SETTINGS = OpsSettings(
    size=Size(rois=6, classes=3, rows=6, columns=8, k=2, out_size=4),
    rois=(3, 6),
    classes=(2, 3),
    samplings=("native", "pool"),
    device="cpu",
    method=Method(rounds=2, least_seconds=0.0),
)


POOLED = ("pool", "forward")


@pytest.fixture(scope="module")
def report():
    return run_ops(SETTINGS, lambda text: None)


def test_every_mode_is_compared_forward_and_backward(report):
    found = [(c.sampling, c.tensor, c.work) for c in report.figures["comparisons"]]
    assert found == [
        ("native", "every cell", "forward"),
        ("native", "4 x 4", "forward"),
        ("native", "4 x 4, RoI first", "forward"),
        ("native", "every cell", "forward + backward"),
        ("native", "4 x 4", "forward + backward"),
        ("native", "4 x 4, RoI first", "forward + backward"),
        ("pool", "4 x 4", "forward"),
        ("pool", "4 x 4", "forward + backward"),
    ]
    for c in report.figures["comparisons"]:
        if c.sampling == "native" and c.tensor.startswith("4 x 4"):
            assert c.difference is None
        else:
            assert 0 <= c.difference <= 1e-5
        assert set(c.seconds) == set(c.bytes) == {"fcis", "materialised"}
        assert min(c.bytes.values()) > 0 and c.peer_over_ours.median > 0


def test_the_peer_holds_the_tensor_that_it_is_named_for(report):
    both = 3 * 2 * 6 * 4 * 4 * 4  # bytes of classes x sides x RoIs x samples
    pooled = next(c for c in report.figures["comparisons"] if (c.sampling, c.work) == POOLED)
    assert pooled.bytes["materialised"] >= 2 * both  # a gather, and what it is added to


def test_growth_is_relative_to_the_smallest_size(monkeypatch):
    seconds = {3: [1.0, 2.0], 6: [3.0, 3.0]}

    def alternate(works, method, clock):
        if set(works) == {3, 6}:
            return seconds
        return {name: [1.0, 1.0] for name in works}

    monkeypatch.setattr(ops, "alternate", alternate)
    points = run_ops(replace(SETTINGS, samplings=("native",)), lambda text: None).points
    assert [(p.axis, p.count) for p in points] == [
        ("rois", 3),
        ("rois", 6),
        ("classes", 2),
        ("classes", 3),
    ]
    # twice the RoIs take 3 and 1.5 times as long: 1.5 and 0.75 of linear
    assert [p.of_linear.median for p in points[:2]] == [1, 1.125]
    assert points[3].of_linear.median == pytest.approx(2 / 3)


def test_forms_that_differ_are_not_measured(monkeypatch):
    true_scores = ops.class_scores
    monkeypatch.setattr(ops, "class_scores", lambda *args: true_scores(*args) + 0.001)
    with pytest.raises(ArithmeticError, match=r"native, forward: fcis and materialised differ by"):
        run_ops(SETTINGS, lambda text: None)
    monkeypatch.setattr(ops, "class_scores", lambda *args: true_scores(*args) * torch.nan)
    with pytest.raises(ArithmeticError, match="differ by nan"):
        run_ops(SETTINGS, lambda text: None)


def test_a_wrong_gradient_is_found(monkeypatch):
    true_scores = ops.class_scores

    def scores(maps, *rest):
        wrong = true_scores(maps, *rest)
        return wrong.detach() + 1.01 * (wrong - wrong.detach())

    monkeypatch.setattr(ops, "class_scores", scores)
    with pytest.raises(ArithmeticError, match=r"native, forward \+ backward: .* more than 1e-04"):
        run_ops(SETTINGS, lambda text: None)


def test_json_and_tables(report):
    found = json.loads(json.dumps(report.to_json()))
    assert set(found) == {"settings", "comparisons", "scaling"}
    assert set(found["comparisons"][0]) == {
        "sampling",
        "tensor",
        "work",
        "seconds",
        "peer_over_ours",
        "bytes",
        "difference",
    }
    assert set(found["comparisons"][0]["seconds"]["fcis"]) == {"median", "low", "high"}
    assert set(found["scaling"][0]) == {"sampling", "axis", "count", "seconds", "of_linear"}
    comparison, scaling = (table.text() for table in report.tables)
    assert comparison.startswith("6 RoIs, 3 classes, 6 x 8 cells, k = 2: scores")
    assert (
        "| materialised / fcis |" in comparison
        and "| pool     |            4 x 4 | forward + backward |" in comparison
    )
    assert len(scaling.splitlines()) == 4 + 8
    assert "medians of 2 rounds" in report.notes[1]


def test_half_precision_is_that_of_both_forms():
    half = replace(SETTINGS, precision="bfloat16", samplings=("align",))
    assert half.problem(half.size).classes.dtype == torch.bfloat16
    report = run_ops(half, lambda text: None)
    assert [c.sampling for c in report.figures["comparisons"]] == ["align", "align"]
    assert all(1e-4 < c.difference < 0.05 for c in report.figures["comparisons"])
    assert "bfloat16" in report.tables[0].title
