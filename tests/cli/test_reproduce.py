"""`fcis reproduce`, to the end with the smallest networks, and what it refuses."""

import json

import pytest

from fcis.cli.main import main
from fcis.lab.benchmark.timing import Method
from fcis.lab.reproduce import budgets, times
from fcis.lab.reproduce.rows import TABLES
from fcis.lab.reproduce.running import JOURNAL
from fcis.training.run import train

ARGUMENTS = ("--data", "scenes:4:0", "--recipe", "tiny", "--seeds", "1", "--device", "cpu")
FEWER = ("preprocessing.zoom=0.5", "post_nms=10", "augmentation.crop=96", "stem_width=4")
ROWS = {"table1": 5, "table2": 5, "table3": 3, "table4": 5}
TRAININGS = {"table1": 5, "table2": 4, "table3": 3, "table4": 4}


def smallest(table, out, *more, steps=2):
    settings = [word for text in (*FEWER, f"steps={steps}") for word in ("--set", text)]
    return ("reproduce", table, *ARGUMENTS, *settings, "--out", out, *more)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(times, "METHOD", Method(rounds=1, least_seconds=0.0))


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_made_and_not_made_again(fcis, tmp_path, quick, table):
    figures = tmp_path / "figures.json"
    code, out, err = fcis(*smallest(table, tmp_path, "--json", figures))
    assert code == 0, err
    folder = tmp_path / table
    data = json.loads(figures.read_text())
    assert data == json.loads((folder / "table.json").read_text())
    assert len(data["rows"]) == ROWS[table] and data["steps"] == 2
    assert (folder / "table.md").read_text() in out
    assert (folder / "table.png").stat().st_size > 5000
    assert all(row["times"]["test seconds"]["seconds"]["median"] > 0 for row in data["rows"])
    kinds = [json.loads(line)["kind"] for line in (folder / JOURNAL).read_text().splitlines()]
    assert kinds.count("training") == TRAININGS[table]
    assert kinds.count("times") == (2 if table in ("table1", "table2") else 1)
    if table in ("table2", "table3"):
        assert all(row["operations"] > 0 for row in data["rows"])
    before = (folder / JOURNAL).read_bytes()
    code, again, err = fcis(*smallest(table, tmp_path))
    assert code == 0, err
    assert (folder / JOURNAL).read_bytes() == before and "training 1 of" not in err
    assert again.splitlines()[:5] == (folder / "table.md").read_text().splitlines()[:5]


@pytest.mark.slow
def test_an_interruption_leaves_everything_to_go_on_with(fcis, tmp_path, quick, monkeypatch):
    calls = []

    def interrupted(*arguments, **options):
        calls.append(arguments[3].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr("fcis.lab.reproduce.running.train", interrupted)
    code, _, err = fcis(*smallest("table3", tmp_path))
    assert code == 130 and "the same command goes on from there" in err
    assert err.strip().endswith("fcis: interrupted")
    code, _, err = fcis(*smallest("table3", tmp_path))
    assert code == 0, err
    assert calls == ["resnet50-0", "resnet101-0", "resnet101-0", "resnet152-0"]


@pytest.mark.slow
def test_minutes_are_measured_once(fcis, tmp_path, quick, monkeypatch):
    asked = []

    def seconds(recipes, *more):
        asked.extend(recipes)
        return {name: [15.0] for name in recipes}

    monkeypatch.setattr(budgets, "step_seconds", seconds)
    words = smallest("table3", tmp_path, "--budget", "0.5")
    for _ in range(2):
        code, out, err = fcis(*words)
        assert code == 0, err
        assert "budget 0.5: 2 steps each" in out
    assert len(asked) == 3


def test_other_settings_are_refused(refused, tmp_path):
    folder = tmp_path / "table1"
    folder.mkdir()
    line = {"kind": "training", "name": "naive-mnc", "seed": 0, "settings": "another"}
    (folder / JOURNAL).write_text(json.dumps(line) + "\n")
    message = refused(*smallest("table1", tmp_path))
    assert "naive-mnc, seed 0 was made with another recipe, budget or data" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "soon"), "--budget soon: expected cpu, full, or the minutes"),
        (("--seeds", "0"), "--seeds 0: expected at least 1"),
        (("--set", "steps"), "--set steps: expected KEY=VALUE"),
        (("--set", "stops=3"), "did you mean training.steps?"),
        (("--recipe", "none"), "--recipe none: no such recipe"),
        (("--data", "scenes:x"), "--data scenes:x: expected scenes"),
        (("--data", "nowhere,scenes"), "nowhere: no such file or folder"),
        (("--device", "cuda:99"), "cuda:99"),
    ],
)
def test_bad_input_is_one_line(refused, tmp_path, words, message):
    base = ["reproduce", "table1", "--out", tmp_path]
    if words[0] != "--data":
        base += ["--data", "scenes:4"]
    assert message in refused(*base, *words)


def test_folders_that_cannot_be_written_are_refused(refused, tmp_path):
    (tmp_path / "file").write_text("")
    words = ("reproduce", "table1", "--data", "scenes:4")
    assert "choose another --out" in refused(*words, "--out", tmp_path / "file")
    assert "is a folder" in refused(*words, "--out", tmp_path, "--json", tmp_path)


def test_the_command_is_known(capsys):
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    assert "table1" in capsys.readouterr().out
