import errno
import os

import pytest
from PIL import Image

from fcis.core.errors import InputError
from fcis.training.metrics import COLUMNS, add_metrics, draw_curves, read_metrics, write_metrics


def test_rows_come_back_as_they_were_written(tmp_path):
    assert read_metrics(tmp_path) == []
    write_metrics(tmp_path, [])
    assert read_metrics(tmp_path) == []
    add_metrics(tmp_path, 20, {"loss": 1.23456789, "lr": 1e-5})
    add_metrics(tmp_path, 20, {"val_AP": 0.5})
    rows = read_metrics(tmp_path)
    assert [r["step"] for r in rows] == ["20", "20"]
    assert rows[0]["loss"] == "1.23457" and rows[0]["lr"] == "1e-05" and rows[0]["val_AP"] == ""
    assert rows[1]["val_AP"] == "0.5" and rows[1]["loss"] == ""
    text = (tmp_path / "metrics.csv").read_text()
    write_metrics(tmp_path, rows)
    assert (tmp_path / "metrics.csv").read_text() == text
    assert text.splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize("kept", range(1, 40, 3))
def test_a_row_that_was_cut_short_is_left_out(tmp_path, kept):
    write_metrics(tmp_path, [])
    add_metrics(tmp_path, 20, {"loss": 1.0, "val_AP75": 0.1234})
    whole = (tmp_path / "metrics.csv").read_bytes()
    add_metrics(tmp_path, 40, {"loss": 2.0, "val_AP75": 0.5678})
    both = (tmp_path / "metrics.csv").read_bytes()
    (tmp_path / "metrics.csv").write_bytes(both[: min(len(whole) + kept, len(both) - 1)])
    assert [r["step"] for r in read_metrics(tmp_path)] == ["20"]


def test_an_interrupted_write_leaves_the_table(tmp_path, monkeypatch):
    write_metrics(tmp_path, [])
    add_metrics(tmp_path, 20, {"loss": 1.0})

    def fails(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(KeyboardInterrupt):
        write_metrics(tmp_path, [])
    assert len(read_metrics(tmp_path)) == 1


def test_a_table_that_cannot_be_written(tmp_path):
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(InputError, match=r"metrics\.csv: cannot be written \(Is a directory\)"):
        add_metrics(tmp_path, 1, {"loss": 1.0})


def test_a_table_with_fewer_columns_goes_on(tmp_path):
    """Of a run that an older version began."""
    old = "step,loss,val_AP\r\n20,1.5,\r\n20,,0.25\r\n"
    (tmp_path / "metrics.csv").write_text(old, newline="")
    rows = read_metrics(tmp_path)
    assert [(r["step"], r["loss"], r["val_AP"], r["val_loss"]) for r in rows] == [
        ("20", "1.5", "", ""), ("20", "", "0.25", "")
    ]  # fmt: skip
    write_metrics(tmp_path, rows)
    add_metrics(tmp_path, 40, {"val_loss": 3.5})
    assert read_metrics(tmp_path)[:2] == rows
    assert read_metrics(tmp_path)[2]["val_loss"] == "3.5"


def test_a_full_disk_leaves_the_table_and_the_curves(tmp_path, monkeypatch):
    write_metrics(tmp_path, [])
    draw_curves(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    for write, name in (
        (lambda: write_metrics(tmp_path, [dict.fromkeys(COLUMNS, "1")]), "metrics.csv"),
        (lambda: draw_curves(tmp_path), "curves.png"),
    ):
        with pytest.raises(InputError, match=rf"{name}: cannot be written \(No space left on dev"):
            write()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_curves_are_drawn_with_and_without_figures(tmp_path):
    write_metrics(tmp_path, [])
    draw_curves(tmp_path)
    with Image.open(tmp_path / "curves.png") as picture:
        empty = picture.convert("RGB").tobytes()
    add_metrics(tmp_path, 20, {"loss": 1.0, "rpn_class": 0.5})
    add_metrics(tmp_path, 40, {"loss": 0.7, "rpn_class": 0.3})
    add_metrics(tmp_path, 40, {"val_AP": 0.5, "val_AP50": 0.6, "val_AP75": 0.7})
    draw_curves(tmp_path)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1210, 462)
        plain = picture.convert("RGB").tobytes()
    assert plain != empty
    add_metrics(tmp_path, 60, {"val_loss": 0.8})
    draw_curves(tmp_path)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.convert("RGB").tobytes() != plain
