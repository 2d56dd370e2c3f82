import lightning
import pytest

from fcis.training.callbacks import Metrics, Progress, Validation
from fcis.training.metrics import read_metrics

from .conftest import FakeTrainer, steps


def shown(folder):
    names = ("step", "loss", "rpn_class", "lr")
    return [tuple(row[n] for n in names) for row in read_metrics(folder)]


def test_rows_are_means_since_the_last_row(tmp_path, module):
    trainer, metrics = FakeTrainer(45), Metrics(tmp_path, 4)
    metrics.on_train_start(trainer, module)
    steps(trainer, module, [metrics], 1, 45)
    assert shown(tmp_path) == [
        ("20", "10.5", "5.25", "0.005"),
        ("40", "30.5", "15.25", "0.0025"),
        ("45", "43", "21.5", "0.00222222"),
    ]
    assert all(float(row["images_per_second"]) > 0 for row in read_metrics(tmp_path))


@pytest.mark.parametrize(("stop", "crash"), [(7, 7), (20, 39), (31, 44), (40, 43), (0, 5)])
def test_a_resumed_run_writes_the_same_rows(tmp_path, module, stop, crash):
    """The checkpoint is of step `stop`; the first run went on to step `crash`."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for folder in (whole, torn):
        folder.mkdir()
    trainer, metrics = FakeTrainer(45), Metrics(whole, 4)
    metrics.on_train_start(trainer, module)
    steps(trainer, module, [metrics], 1, 45)

    trainer, metrics = FakeTrainer(45), Metrics(torn, 4)
    metrics.on_train_start(trainer, module)
    steps(trainer, module, [metrics], 1, stop)
    state = metrics.state_dict()
    steps(trainer, module, [metrics], stop + 1, crash)

    trainer, metrics = FakeTrainer(45), Metrics(torn, 4)
    trainer.step = stop
    metrics.load_state_dict(state)
    metrics.on_train_start(trainer, module)
    steps(trainer, module, [metrics], stop + 1, 45)
    assert shown(torn) == shown(whole)


def validation_of(folder, every, aps):
    """A validation that finds the given APs, and the list of what was kept."""
    kept, found = [], iter(aps)

    def validate():
        ap = next(found)
        return {"AP": ap, "AP50": 2 * ap, "AP75": ap / 2, "dsb@0.50": 0.0}

    return Validation(every, Metrics(folder, 1), validate, kept.append), kept


def test_the_best_weights_are_kept(tmp_path, module):
    validation, kept = validation_of(tmp_path, 3, [0.1, 0.3, 0.3, 0.2])
    trainer = FakeTrainer(10)
    steps(trainer, module, [validation], 1, 10)
    assert [k["AP"] for k in kept] == [0.1, 0.3]  # an equal one is no better
    assert (validation.best, validation.best_step) == (0.3, 6)
    rows = read_metrics(tmp_path)
    assert [(r["step"], r["val_AP"], r["val_AP50"]) for r in rows] == [
        ("3", "0.1", "0.2"), ("6", "0.3", "0.6"), ("9", "0.3", "0.6"), ("10", "0.2", "0.4")
    ]  # fmt: skip
    assert (tmp_path / "curves.png").is_file()


def test_weights_that_find_nothing_are_kept_if_there_are_no_better_ones(tmp_path, module):
    validation, kept = validation_of(tmp_path, 0, [0.0])
    steps(FakeTrainer(4), module, [validation], 1, 4)
    assert len(kept) == 1 and validation.best_step == 4


def test_a_resumed_validation_knows_the_best(tmp_path, module):
    validation, _ = validation_of(tmp_path, 2, [0.3])
    steps(FakeTrainer(9), module, [validation], 1, 3)
    resumed, kept = validation_of(tmp_path, 2, [0.2, 0.1, 0.1, 0.4])
    resumed.load_state_dict(validation.state_dict())
    steps(FakeTrainer(9), module, [resumed], 4, 9)
    assert [k["AP"] for k in kept] == [0.4]
    assert (resumed.best, resumed.best_step) == (0.4, 9)


def test_the_model_is_evaluated_and_goes_back_to_training(tmp_path, module):
    modes = []

    def validate():
        modes.append(module.model.backbone.bn1.training)
        return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}

    validation = Validation(1, Metrics(tmp_path, 1), validate, lambda _: None)
    module.train()
    steps(FakeTrainer(5), module, [validation], 1, 1)
    assert modes == [False]
    assert module.model.backbone.bn1.training


def test_the_bar_begins_with_the_run_and_is_closed_by_its_end(module, capsys):
    trainer, progress = FakeTrainer(9), Progress(9, 4)
    steps(trainer, module, [progress], 1, 1)  # before the start there is no bar
    trainer.step = 3
    progress.on_train_start(trainer, module)
    steps(trainer, module, [progress], 4, 6)
    progress.on_exception(trainer, module, KeyboardInterrupt())
    text = capsys.readouterr().err
    assert "3/9" in text and "6/9" in text and "loss=6.000" in text and "images/s" in text
    assert "lr" not in text
    progress.on_train_start(trainer, module)
    progress.on_train_end(trainer, module)
    assert capsys.readouterr().err.endswith("\n")


def test_another_module_is_refused(tmp_path):
    with pytest.raises(
        TypeError, match="pl_module: expected a TrainingModule, got LightningModule"
    ):
        Metrics(tmp_path, 1).on_train_batch_end(
            FakeTrainer(1), lightning.LightningModule(), None, None, 0
        )
