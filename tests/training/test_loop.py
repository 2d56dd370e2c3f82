"""The loop: one optimiser step against a second form, and what happens around the steps."""

import itertools
import os
import signal
from dataclasses import replace

import pytest
import torch

from fcis.core.errors import InputError
from fcis.core.interrupts import Terminated
from fcis.model.build import build_model
from fcis.training import loop
from fcis.training.batch import collate_samples
from fcis.training.loader import training_loader
from fcis.training.log import Log
from fcis.training.losses import compute_losses
from fcis.training.metrics import read_metrics
from fcis.training.optim import build_optimiser
from fcis.training.samples import TrainingSamples
from fcis.training.state import RunState

from .loop_cases import Finding, run
from .run_cases import with_training


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_is_one_optimiser_step_with_the_mean_gradient(tmp_path, scene_set, tiny, accumulate):
    """Two steps by hand: gradients averaged, clipped, then the optimiser and its rate."""
    recipe = with_training(tiny, accumulate=accumulate, steps=2)
    state = run(tmp_path, recipe, training_loader(scene_set, recipe, 0))
    assert state.step == 2

    model = build_model(recipe.model, seed=1)
    optimiser = build_optimiser(model, recipe.training.optimiser)
    samples = TrainingSamples(scene_set, recipe)
    totals = []
    for step, factor in enumerate((1 / 5, 2 / 5)):  # linear warm-up over 5 steps
        optimiser.zero_grad()
        for part in range(accumulate):
            first = 2 * (step * accumulate + part)
            batch = collate_samples([samples[first], samples[first + 1]])
            total = compute_losses(model, batch, recipe).total()
            (total / accumulate).backward()
            totals.append(total.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for group in optimiser.param_groups:
            group["lr"] = 0.003 * factor
        optimiser.step()
    expected, found = model.state_dict(), state.model.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7, msg=name)
    row = losses(tmp_path)
    assert row["loss"] == pytest.approx(sum(totals) / len(totals), rel=1e-4)
    assert row["lr"] == pytest.approx(0.003 * 2 / 5)
    terms = ("rpn_class", "rpn_box", "roi_class", "roi_mask", "roi_box")
    assert row["loss"] == pytest.approx(sum(row[t] for t in terms), rel=1e-4)


def losses(folder):
    """The only row of losses in the table, as numbers."""
    (row,) = (row for row in read_metrics(folder) if row["loss"])
    return {name: float(value) for name, value in row.items() if value}


def test_precisions(tmp_path, scene_set, tiny):
    """Losses are close to those in float32; the weights stay what they were made as.

    First weights give nearly equal proposals, whose order rounding may change: hence the bounds.
    """

    def losses_in(precision):
        recipe = with_training(tiny, precision=precision, steps=1)
        model = build_model(recipe.model, seed=1)
        model = model.double() if precision == "float64" else model
        folder = tmp_path / precision
        folder.mkdir()
        state = run(folder, recipe, training_loader(scene_set, recipe, 0), model=model)
        kinds = {p.dtype for p in state.model.parameters()}
        assert kinds == {torch.float64 if precision == "float64" else torch.float32}
        return losses(folder)

    full, half, double = (losses_in(p) for p in ("float32", "bfloat16", "float64"))
    for name in ("rpn_class", "roi_class", "roi_mask"):
        assert double[name] == pytest.approx(full[name], rel=0.02)
        assert half[name] == pytest.approx(full[name], rel=0.05)
        assert half[name] != full[name]


def test_gradients_are_clipped_to_the_bound(tmp_path, scene_set, tiny):
    def first_update(bound):
        optimiser = replace(
            tiny.training.optimiser, kind="sgd", momentum=0.0, weight_decay=0.0, lr=1.0,
            warmup="none", clip_norm=bound, schedule="step",
        )  # fmt: skip
        recipe = with_training(tiny, optimiser=optimiser, steps=1)
        model = build_model(recipe.model)
        before = [p.detach().clone() for p in model.parameters()]
        run(tmp_path, recipe, training_loader(scene_set, recipe, 0), model=model)
        after = model.parameters()
        return torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)])

    free, bound = first_update(0.0), first_update(0.01)
    assert free.norm() > 0.1
    assert bound.norm().item() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(bound / bound.norm(), free / free.norm(), rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, scene_set, tiny):
    model = build_model(tiny.model)
    with torch.no_grad():
        model.rpn.scores.bias.fill_(float("nan"))
    message = r"scene-1-0000\d\d\.png: the loss rpn_class is not finite in step 1; look at this"
    with pytest.raises(InputError, match=message):
        run(tmp_path, tiny, training_loader(scene_set, tiny, 0), model=model)


@pytest.fixture
def run_of(tmp_path, monkeypatch, tiny):
    """A function: run the loop with steps that take no time and whose loss is their number."""
    monkeypatch.setattr(loop, "_add_gradients", lambda *parts: {"loss": float(parts[-1])})

    def make(judge, state=None, **training):
        recipe = with_training(tiny, **training)
        return run(tmp_path, recipe, itertools.repeat(()), judge, state=state)

    return make


@pytest.fixture
def saved(monkeypatch):
    """The steps of which a checkpoint was written."""
    steps, save = [], RunState.save

    def counted(self, path):
        steps.append(self.step)
        save(self, path)

    monkeypatch.setattr(RunState, "save", counted)
    return steps


def validations(folder):
    return [(r["step"], r["val_AP"]) for r in read_metrics(folder) if r["val_AP"]]


def test_the_best_weights_are_kept(tmp_path, run_of):
    judge = Finding([0.1, 0.3, 0.3, 0.2])
    state = run_of(judge, steps=10, validate_every=3)
    assert judge.kept == [(3, 0.1), (6, 0.3)]  # an equal one is no better
    assert (state.best.value, state.best.step) == (0.3, 6)
    assert validations(tmp_path) == [("3", "0.1"), ("6", "0.3"), ("9", "0.3"), ("10", "0.2")]
    assert (tmp_path / "curves.png").is_file()
    names = sorted(p.name for p in (tmp_path / "pictures").iterdir())
    assert names == [f"step-{step:06}.png" for step in (3, 6, 9, 10)]


def test_weights_that_find_nothing_are_kept_if_there_are_no_better_ones(run_of):
    judge = Finding([0.0])
    run_of(judge, steps=4, validate_every=0)
    assert judge.kept == [(4, 0.0)]


@pytest.mark.parametrize(
    ("metric", "kept"),
    [
        ("box_AP", [(2, 0.3), (4, 0.2)]),
        ("loss", [(2, 0.3), (6, 0.4)]),
        ("AP50", [(2, 0.3), (6, 0.4)]),
    ],
)
def test_the_best_on_the_chosen_figure(run_of, metric, kept):
    judge = Finding([0.3, 0.2, 0.4], metric)
    run_of(judge, steps=6, validate_every=2, metric=metric)
    assert judge.kept == kept


def test_a_resumed_run_knows_the_best(tmp_path, run_of, tiny):
    run_of(Finding([0.3, 0.1]), steps=3, validate_every=2)
    resumed = RunState(build_model(tiny.model), tiny.training, Log(tmp_path, 9, 1))
    resumed.load(tmp_path / "last.ckpt")
    judge = Finding([0.2, 0.1, 0.1, 0.4])
    run_of(judge, resumed, steps=9, validate_every=2)
    assert judge.kept == [(9, 0.4)]


def test_checkpoints_are_written_now_and_then_and_at_the_end(run_of, saved):
    run_of(Finding(), steps=11, validate_every=0, checkpoint_every=4)
    assert saved == [4, 8, 11]


def test_a_run_stops_when_it_does_not_become_better(tmp_path, run_of, saved, caplog):
    caplog.set_level("INFO", logger="fcis")
    judge = Finding([0.1, 0.3, 0.2, 0.3, 0.9])
    state = run_of(judge, steps=90, validate_every=5, patience=2, checkpoint_every=7)
    assert state.step == 20 and saved == [7, 14, 20]
    assert [ap for _, ap in judge.kept] == [0.1, 0.3]
    assert caplog.messages[-1] == ("step 20: stopping, AP has not become better since step 10")


def test_a_run_that_stops_between_two_rows_writes_what_is_left(tmp_path, run_of):
    run_of(Finding([0.3, 0.2]), steps=90, validate_every=3, patience=1)
    rows = [(r["step"], r["loss"], r["val_AP"]) for r in read_metrics(tmp_path)]
    assert rows == [("3", "", "0.3"), ("6", "3.5", ""), ("6", "", "0.2")]


def test_the_last_step_is_no_early_stop(run_of, caplog):
    caplog.set_level("INFO", logger="fcis")
    state = run_of(Finding([0.3, 0.2]), steps=6, validate_every=3, patience=1)
    assert state.best.is_over
    assert not any("stopping" in message for message in caplog.messages)


def test_the_model_is_evaluated_and_goes_back_to_training(run_of):
    judge = Finding()
    state = run_of(judge, steps=2, validate_every=1)
    assert judge.modes == [False, False]
    assert state.model.backbone.bn1.training


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_run_that_is_asked_to_stop_saves_its_step_first(
    monkeypatch, run_of, saved, caplog, number, error
):
    caplog.set_level("INFO", logger="fcis")

    def asked(*parts):
        os.kill(os.getpid(), number)
        return {"loss": 1.0}

    monkeypatch.setattr(loop, "_add_gradients", asked)
    with pytest.raises(error):
        run_of(Finding(), steps=9, validate_every=0, checkpoint_every=5)
    assert saved == [1]
    assert caplog.messages[-2:] == [
        "stopping when this step is saved; Ctrl-C again stops at once",
        "step 1: saved; the same command with --resume goes on",
    ]


def test_the_average_follows_each_step(run_of):
    state = run_of(Finding(), steps=3, validate_every=0, ema=0.5)
    for name, value in state.model.state_dict().items():  # which the steps leave as it is
        torch.testing.assert_close(state.average.state_dict()[name], value)
