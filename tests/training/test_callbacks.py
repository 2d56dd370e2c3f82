import lightning
import pytest
from PIL import Image

from fcis.training.callbacks import Metrics, Progress, Validation
from fcis.training.checkpoints import Checkpoints
from fcis.training.metrics import read_metrics
from fcis.training.stopping import Best
from fcis.training.validation_pictures import Pair

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


def validation_of(folder, every, aps, *, metric="AP", patience=0, **options):
    """A validation that finds the given APs, and the list of what was kept."""
    kept, found = [], iter(aps)

    def validate():
        ap = next(found)
        loss = {"loss": 10 - 10 * ap} if metric == "loss" else {}
        return {"AP": ap, "AP50": 2 * ap, "AP75": ap / 2, "box_AP": 1 - ap, "dsb@0.50": 0.0} | loss

    best = Best(metric, patience)
    return Validation(every, Metrics(folder, 1), validate, kept.append, best=best, **options), kept


def test_the_best_weights_are_kept(tmp_path, module):
    validation, kept = validation_of(tmp_path, 3, [0.1, 0.3, 0.3, 0.2])
    trainer = FakeTrainer(10)
    steps(trainer, module, [validation], 1, 10)
    assert [k["AP"] for k in kept] == [0.1, 0.3]  # an equal one is no better
    assert (validation.best.value, validation.best.step) == (0.3, 6)
    rows = read_metrics(tmp_path)
    assert [(r["step"], r["val_AP"], r["val_AP50"]) for r in rows] == [
        ("3", "0.1", "0.2"), ("6", "0.3", "0.6"), ("9", "0.3", "0.6"), ("10", "0.2", "0.4")
    ]  # fmt: skip
    assert (tmp_path / "curves.png").is_file()


def test_weights_that_find_nothing_are_kept_if_there_are_no_better_ones(tmp_path, module):
    validation, kept = validation_of(tmp_path, 0, [0.0])
    steps(FakeTrainer(4), module, [validation], 1, 4)
    assert len(kept) == 1 and validation.best.step == 4


def test_a_resumed_validation_knows_the_best(tmp_path, module):
    validation, _ = validation_of(tmp_path, 2, [0.3])
    steps(FakeTrainer(9), module, [validation], 1, 3)
    resumed, kept = validation_of(tmp_path, 2, [0.2, 0.1, 0.1, 0.4])
    resumed.load_state_dict(validation.state_dict())
    steps(FakeTrainer(9), module, [resumed], 4, 9)
    assert [k["AP"] for k in kept] == [0.4]
    assert (resumed.best.value, resumed.best.step) == (0.4, 9)


@pytest.mark.parametrize(
    ("metric", "kept_at", "said"),
    [
        ("box_AP", [0.3, 0.2], "step 4: mask AP 0.200, AP50 0.400, AP75 0.100; box_AP 0.800\n"),
        ("loss", [0.3, 0.4], "step 6: mask AP 0.400, AP50 0.800, AP75 0.200; loss 6.000\n"),
        ("AP50", [0.3, 0.4], "step 6: mask AP 0.400, AP50 0.800, AP75 0.200\n"),
    ],
)
def test_the_best_on_the_chosen_figure(tmp_path, module, caplog, metric, kept_at, said):
    caplog.set_level("INFO", logger="fcis")
    validation, kept = validation_of(tmp_path, 2, [0.3, 0.2, 0.4], metric=metric)
    steps(FakeTrainer(6), module, [validation], 1, 6)
    assert [k["AP"] for k in kept] == kept_at
    assert said.removesuffix("\n") in caplog.messages
    rows = read_metrics(tmp_path)
    assert [r["val_box_AP"] for r in rows] == ["0.7", "0.8", "0.6"]
    assert [r["val_loss"] for r in rows] == (["7", "8", "6"] if metric == "loss" else [""] * 3)


def test_a_run_stops_when_it_does_not_become_better(tmp_path, module, caplog):
    caplog.set_level("INFO", logger="fcis")
    validation, kept = validation_of(tmp_path, 5, [0.1, 0.3, 0.2, 0.3, 0.9], patience=2)
    metrics, trainer = validation.metrics, FakeTrainer(90)
    checkpoints = Checkpoints(tmp_path, 7)
    metrics.on_train_start(trainer, module)
    steps(trainer, module, [metrics, validation, checkpoints], 1, 19)
    assert not trainer.should_stop and trainer.saved[-1] == ("last.ckpt", 14)
    steps(trainer, module, [metrics, validation, checkpoints], 20, 20)
    assert trainer.should_stop and trainer.saved[-1] == ("last.ckpt", 20)
    assert [k["AP"] for k in kept] == [0.1, 0.3]
    assert "step 20: stopping, AP has not become better since step 10" in caplog.messages


def test_a_run_that_stops_between_two_rows_writes_what_is_left(tmp_path, module):
    validation, _ = validation_of(tmp_path, 3, [0.3, 0.2], patience=1)
    trainer, metrics = FakeTrainer(90), validation.metrics
    metrics.on_train_start(trainer, module)
    steps(trainer, module, [metrics, validation], 1, 6)
    assert trainer.should_stop
    rows = read_metrics(tmp_path)
    assert [(r["step"], r["loss"], r["val_AP"]) for r in rows] == [
        ("3", "", "0.3"), ("6", "3.5", ""), ("6", "", "0.2")
    ]  # fmt: skip
    metrics.flush(trainer, module)
    assert read_metrics(tmp_path) == rows


def test_the_last_step_is_no_early_stop(tmp_path, module):
    validation, _ = validation_of(tmp_path, 3, [0.3, 0.2], patience=1)
    trainer = FakeTrainer(6)
    steps(trainer, module, [validation], 1, 6)
    assert validation.best.is_over and not trainer.should_stop


def test_pictures_are_written_at_each_validation(tmp_path, module):
    colors = iter(["red", "green"])

    def draw():
        picture = Image.new("RGB", (40, 30), next(colors))
        return [Pair(name="a.png", annotated=picture, found=picture, titles=("a", "b"))]

    validation, _ = validation_of(tmp_path, 3, [0.3, 0.2], draw=draw)
    steps(FakeTrainer(6), module, [validation], 1, 6)
    names = sorted(p.name for p in (tmp_path / "pictures").iterdir())
    assert names == ["step-000003.png", "step-000006.png"]


def test_the_model_is_evaluated_and_goes_back_to_training(tmp_path, module):
    modes = []

    def validate():
        modes.append(module.model.backbone.bn1.training)
        return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}

    validation = Validation(1, Metrics(tmp_path, 1), validate, lambda _: None, best=Best())
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
