"""Tables that an earlier version has made, or begun, are known again line by line."""

import json
import shutil
from pathlib import Path

import pytest

from fcis.lab.reproduce import budgets, make_table, running, times
from fcis.lab.reproduce.rows import TABLES
from fcis.training.run import BEST

TABLES_OF_BEFORE = Path(__file__).parent / "tables"
FEWER = (
    "preprocessing.zoom=0.5", "post_nms=30", "augmentation.crop=96", "stem_width=8", "workers=0",
    "max_detections=20",
)  # fmt: skip
# the others are kept without their detections, of which the figures are made
WHOLE = [table for table in TABLES if (TABLES_OF_BEFORE / table / "detections").is_dir()]
STEPS = {"table3": ("--budget", "0.1")}


def words(table, out, *more):
    """The command that the earlier version was given."""
    settings = [word for text in FEWER for word in ("--set", text)]
    steps = STEPS.get(table, ("--set", "steps=150"))
    data = ("--data", "scenes:4:0,scenes:2:1", "--recipe", "tiny", "--seeds", "1")
    return ("reproduce", table, *data, "--device", "cpu", *settings, *steps, "--out", out, *more)


@pytest.fixture
def folder_of(tmp_path):
    """Copy a table; weights and left out detections, which are not opened, are empty files."""

    def copy(table):
        shutil.copytree(TABLES_OF_BEFORE / table, tmp_path / table)
        for recipe in (tmp_path / table).glob("*/recipe.json"):
            recipe.with_name(BEST).touch()
        found = tmp_path / table / "detections"
        found.mkdir(exist_ok=True)
        for line in map(json.loads, (tmp_path / table / "runs.jsonl").open()):
            (found / f"{line['name']}-{line['seed']}.json").touch()
        return tmp_path / table

    return copy


@pytest.fixture(autouse=True)
def done(monkeypatch):
    """What is done anew, which then ends as an interruption does."""
    asked = []

    def note(what):
        def act(*arguments, **options):
            asked.extend([what, *(a.name for a in arguments if isinstance(a, Path))])
            raise KeyboardInterrupt

        return act

    monkeypatch.setattr(running, "train", note("training"))
    monkeypatch.setattr(running, "open_row", note("evaluation"))
    monkeypatch.setattr(budgets, "step_seconds", note("steps"))
    monkeypatch.setattr(times, "test_times", note("times"))
    monkeypatch.setattr(times, "step_times", note("times of steps"))
    return asked


@pytest.mark.parametrize(
    "table", [pytest.param(t, marks=[pytest.mark.slow] if t not in WHOLE else []) for t in TABLES]
)
def test_nothing_is_done_again(fcis, folder_of, done, monkeypatch, table):
    monkeypatch.setattr(make_table, "sample_images", lambda *_: done.append("samples") or stop())
    folder = folder_of(table)
    before = (folder / "runs.jsonl").read_text()
    for _ in range(2):
        assert fcis(*words(table, folder.parent))[0] == 130
    assert done == ["samples", "samples"]
    lines = (folder / "runs.jsonl").read_text().removeprefix(before).splitlines()
    # the steps of a budget in minutes had a file of their own
    assert [json.loads(line)["kind"] for line in lines] == ["steps"] * (table == "table3")


def stop():
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("table", WHOLE)
def test_the_table_is_the_same(fcis, folder_of, done, table):
    folder = folder_of(table)
    expected = json.loads((folder / "table.json").read_text())
    (folder / "table.json").unlink()
    code, _, err = fcis(*words(table, folder.parent))
    assert code == 0 and done == [], err
    found = json.loads((folder / "table.json").read_text())
    assert found["rows"] == expected["rows"] and found["steps"] == expected["steps"]


@pytest.mark.parametrize(
    ("kept", "missing"),
    [
        (4, ["training", "fcis-0"]),
        (9, ["evaluation"]),
        (10, ["times"]),
        (11, ["times of steps"]),
    ],
)
def test_an_interrupted_table_goes_on_where_it_was(fcis, folder_of, done, kept, missing):
    folder = folder_of("table1")
    lines = (folder / "runs.jsonl").read_text().splitlines(keepends=True)
    (folder / "runs.jsonl").write_text("".join(lines[:kept]))
    if kept < 5:
        shutil.rmtree(folder / "fcis-0")
    assert fcis(*words("table1", folder.parent))[0] == 130
    assert done == missing


@pytest.mark.parametrize("setting", ["steps=151", "vote=binary", "mask_loss_weight=2"])
def test_another_recipe_is_refused_as_ever(refused, folder_of, done, setting):
    folder = folder_of("table1")
    message = refused(*words("table1", folder.parent, "--set", setting))
    assert "naive-mnc, seed 0 was made with another recipe, budget or data" in message
    assert done == []


def test_another_budget_is_refused_as_ever(refused, folder_of, done):
    folder = folder_of("table3")
    message = refused(*words("table3", folder.parent, "--budget", "0.2"))
    assert "of all networks, seed 0 was made with another recipe, budget" in message
    assert done == []


def test_damaged_steps_are_named(refused, folder_of, done):
    folder = folder_of("table3")
    (folder / "steps.json").write_text("{")
    assert "steps.json: damaged; delete it" in refused(*words("table3", folder.parent))
    assert done == []
