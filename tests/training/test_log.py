import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fcis.training.log import Log
from fcis.training.metrics import read_metrics
from fcis.training.validation_pictures import Pair


def shown(folder):
    names = ("step", "loss", "rpn_class", "lr")
    return [tuple(row[n] for n in names) for row in read_metrics(folder)]


def add_steps(log, first, last):
    """Steps whose loss is the step's number."""
    for step in range(first, last + 1):
        log.add_step(step, {"loss": float(step), "rpn_class": step / 2, "lr": 0.1 / step})


@pytest.fixture
def begun():
    """A function: a log of 45 steps that has begun; closed at the end."""
    logs = []

    def begin(folder, step=0, state=None):
        log = Log(folder, 45, 4)
        if state:
            log.load_state_dict(state)
        log.begin(step)
        logs.append(log)
        return log

    yield begin
    for log in logs:
        log.close()


def test_rows_are_means_since_the_last_row(tmp_path, begun):
    add_steps(begun(tmp_path), 1, 45)
    assert shown(tmp_path) == [
        ("20", "10.5", "5.25", "0.005"),
        ("40", "30.5", "15.25", "0.0025"),
        ("45", "43", "21.5", "0.00222222"),
    ]
    assert all(float(row["images_per_second"]) > 0 for row in read_metrics(tmp_path))


@pytest.mark.parametrize(("stop", "crash"), [(7, 7), (20, 39), (31, 44), (40, 43), (0, 5)])
def test_a_resumed_run_writes_the_same_rows(tmp_path, begun, stop, crash):
    """The checkpoint is of step `stop`; the first run went on to step `crash`."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for folder in (whole, torn):
        folder.mkdir()
    add_steps(begun(whole), 1, 45)
    log = begun(torn)
    add_steps(log, 1, stop)
    state = log.state_dict()
    add_steps(log, stop + 1, crash)
    add_steps(begun(torn, stop, state), stop + 1, 45)
    assert shown(torn) == shown(whole)


def test_what_is_left_is_written_once(tmp_path, begun):
    log = begun(tmp_path)
    add_steps(log, 1, 6)
    for _ in range(2):
        log.flush(6, 0.25)
    assert shown(tmp_path) == [("6", "3.5", "1.75", "0.25")]


FIGURES = {"AP": 0.2, "AP50": 0.4, "AP75": 0.1, "box_AP": 0.8, "dsb@0.50": 0.0}


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("box_AP", "step 4: mask AP 0.200, AP50 0.400, AP75 0.100; box_AP 0.800"),
        ("loss", "step 4: mask AP 0.200, AP50 0.400, AP75 0.100; loss 6.000"),
        ("AP50", "step 4: mask AP 0.200, AP50 0.400, AP75 0.100"),
    ],
)
def test_a_validation_is_written_and_said(tmp_path, begun, caplog, metric, said):
    caplog.set_level("INFO", logger="fcis")
    log = begun(tmp_path)
    log.add_validation(4, FIGURES | ({"loss": 6.0} if metric == "loss" else {}), metric)
    assert caplog.messages == [said]
    (row,) = read_metrics(tmp_path)
    assert (row["step"], row["loss"], row["val_AP"], row["val_box_AP"]) == ("4", "", "0.2", "0.8")
    assert row["val_loss"] == ("6" if metric == "loss" else "")


def test_tensorboard_has_curves_and_pictures(tmp_path, begun):
    log = begun(tmp_path)
    add_steps(log, 1, 20)
    pictures = [
        Pair(
            name=name,
            annotated=Image.new("RGB", (40, 30), "red"),
            found=Image.new("RGB", (40, 30), "green"),
            titles=("a", "b"),
        )
        for name in ("one.png", "two.png")
    ]
    log.draw(20, lambda: pictures)
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(20, 10.5)]
    assert sorted(events.Tags()["images"]) == ["pictures/one.png", "pictures/two.png"]
    (image,) = events.Images("pictures/one.png")
    assert (image.step, image.width > 80, image.height >= 30) == (20, True, True)
    assert (tmp_path / "pictures" / "step-000020.png").is_file()
    assert (tmp_path / "curves.png").is_file()


def test_tensorboard_forgets_what_a_checkpoint_does_not_know(tmp_path, begun):
    first = begun(tmp_path)
    add_steps(first, 1, 40)
    first.close()
    again = begun(tmp_path, 25)
    add_steps(again, 26, 45)
    again.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == [20, 40, 45]
    assert [e.value for e in events.Scalars("loss")][1] == 33.0  # steps 26 to 40


def test_the_bar_begins_with_the_run_and_is_closed(tmp_path, capsys):
    log = Log(tmp_path, 9, 4)
    add_steps(log, 1, 1)  # before the start there is no bar
    log.begin(3)
    add_steps(log, 4, 6)
    log.close()
    text = capsys.readouterr().err
    assert "3/9" in text and "6/9" in text and "loss=6.000" in text and "images/s" in text
    assert "lr" not in text
    assert text.endswith("\n")


def test_a_watcher_takes_the_place_of_the_bar(tmp_path, capsys):
    calls = []
    log = Log(tmp_path, 9, 4, lambda done, all_: calls.append((done, all_)))
    log.begin(3)
    add_steps(log, 4, 6)
    log.close()
    assert calls == [(3, 9), (4, 9), (5, 9), (6, 9)]
    assert capsys.readouterr().err == ""


def test_another_process_writes_nothing(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="fcis")
    monkeypatch.setenv("RANK", "1")
    log = Log(tmp_path, 45, 4)
    log.begin(0)
    add_steps(log, 1, 45)
    log.add_validation(45, FIGURES, "AP")
    log.draw(45, lambda: pytest.fail("pictures are made for nobody"))
    log.say("nothing")
    log.close()
    assert list(tmp_path.iterdir()) == [] and caplog.messages == []
