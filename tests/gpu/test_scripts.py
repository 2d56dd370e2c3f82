"""The scripts for a rented GPU: all of them in a tiny size on the CPU, and the parts they share."""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcis.lab.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
GPU = ROOT / "gpu"
SCRIPTS = sorted(path.stem for path in GPU.glob("[0-9][0-9]-*.py"))
TWICE = "30-train-nuclei"


@pytest.fixture
def load(monkeypatch):
    """Import a module of the scripts' folder, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(GPU))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).parent == GPU:
            del sys.modules[name]


@pytest.mark.slow
def test_all_scripts_run_on_the_cpu_and_do_nothing_twice(tmp_path, load):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, GPU / "dry_run.py", "--folder", tmp_path, *SCRIPTS, TWICE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    results = load("results")
    assert len(SCRIPTS) == 9
    for script in SCRIPTS:
        path = tmp_path / "out" / script / f"{script}.jsonl"
        lines = Journal(path).lines
        assert lines and all(tuple(line) == results.KEYS for line in lines)
        keys = [json.dumps(line["key"]) for line in lines]
        assert len(set(keys)) == len(keys), "something was done twice"
        for line in lines:
            facts = line["environment"]
            assert line["quick"] is True and facts["commit"] and facts["device"] == "cpu"
            assert {"python", "torch", "timm", "triton"} <= set(facts["versions"])
    assert done.stdout.count("| run ") == len(SCRIPTS) + 1
    state = {path.name for path in (tmp_path / "out").glob("*/state-*")}
    assert {f"state-{script}.tar.gz.00" for script in (TWICE, "43-table4")} <= state


def run_code(load, logs, *codes, parallel=2, seconds=600):
    """Run pieces of Python, each as a command that is named by its place."""
    processes = load("processes")
    jobs = [
        processes.Job(name=str(i), command=(sys.executable, "-c", code))
        for i, code in enumerate(codes)
    ]
    end = time.monotonic() + seconds
    found = processes.run_jobs(jobs, parallel=parallel, end=end, logs=logs, tell=lambda _: None)
    return [found[str(i)].code for i in range(len(codes))]


def test_commands_run_side_by_side_and_say_why_they_fail(tmp_path, load, capfd):
    fails = "import sys; print('the reason'); sys.exit(4)"
    assert run_code(load, tmp_path, "print('hello')", fails, "pass") == [0, 4, 0]
    assert (tmp_path / "0.log").read_text() == "hello\n"
    said = capfd.readouterr().err
    assert "1: failed with code 4" in said and "    the reason" in said


def test_commands_are_stopped_when_the_time_is_up(tmp_path, load):
    """However slow the machine is, nothing here ends by itself."""
    endless = "import time; time.sleep(10_000)"
    assert run_code(load, tmp_path, endless, "pass", parallel=1, seconds=1) == [None, None]
    assert run_code(load, tmp_path, "pass", seconds=-1) == [None]


def state_of(work, name, *, finished, size=2 * 2**20):
    """Write the files of a run."""
    folder = work / name
    folder.mkdir(parents=True)
    for file in ("best.safetensors", "last.ckpt"):
        (folder / file).write_bytes(os.urandom(size))
    (folder / "recipe.json").write_text("{}")
    if finished:
        (folder / "finished").touch()


def test_state_travels_without_checkpoints_of_finished_runs(tmp_path, load):
    travel = load("travel")
    work, out = tmp_path / "work", tmp_path / "out"
    out.mkdir()
    state_of(work, "a", finished=False)
    state_of(work, "b", finished=True)
    (work / "logs").mkdir()
    (work / "logs" / "a.log").write_text("x")
    (note,) = travel.pack("s", work, out)
    assert "6 files" in note
    there = tmp_path / "there"
    (there / "a").mkdir(parents=True)
    (there / "a" / "recipe.json").write_text("newer")
    assert travel.restore("s", out, there) == 5
    assert (there / "a" / "recipe.json").read_text() == "newer"
    assert (there / "a" / "last.ckpt").read_bytes() == (work / "a" / "last.ckpt").read_bytes()
    assert not (there / "b" / "last.ckpt").exists() and not (there / "logs").exists()
    assert travel.restore("other", out, there) == 0


def test_what_does_not_fit_stays_behind_and_is_named(tmp_path, load, monkeypatch):
    travel = load("travel")
    work, out = tmp_path / "work", tmp_path / "out"
    out.mkdir()
    state_of(work, "a", finished=False)
    state_of(work, "b", finished=True)
    monkeypatch.setattr(travel, "MOST_BYTES", 3 * 2**20)
    monkeypatch.setattr(travel, "PART_BYTES", 2**20)
    notes = travel.pack("s", work, out)
    assert [note.rpartition(" ")[2] for note in notes[1:]] == ["a/best.safetensors", "a/last.ckpt"]
    parts = sorted(out.iterdir())
    assert len(parts) > 1 and all(part.stat().st_size <= 2**20 for part in parts)
    assert travel.restore("s", out, tmp_path / "there") == 4
    assert (tmp_path / "there" / "b" / "best.safetensors").is_file()


def line(load, **changes):
    results = load("results")
    return dict.fromkeys(results.KEYS, "") | {"key": {"part": "a"}, "quick": False} | changes


def test_results_are_collected_once_and_state_is_replaced(tmp_path, load):
    collect = load("collect")
    back, results, state = (tmp_path / name for name in ("back", "results", "state"))
    back.mkdir()
    lines = [line(load), line(load, quick=True)]
    (back / "s.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    for number in range(2):
        (back / f"state-s.tar.gz.{number:02d}").write_bytes(b"x")
    words = [str(back), "--results", str(results), "--state", str(state)]
    assert collect.main(words) == 0
    (back / "state-s.tar.gz.01").unlink()
    assert collect.main(words) == 0
    assert len((results / "s.jsonl").read_text().splitlines()) == 1
    assert [path.name for path in state.iterdir()] == ["state-s.tar.gz.00"]


@pytest.mark.parametrize(
    ("found", "at_most", "met"), [(1.0, False, True), (0.5, False, False), (0.5, True, True)]
)
def test_bars(load, found, at_most, met):
    results = load("results")
    assert results.Bar(name="x", wanted=1.0, found=found, at_most=at_most).met is met
    assert not results.Bar(name="x", wanted=1.0, found=None, at_most=at_most).met
    assert not results.Bar(name="x", wanted=1.0, found=float("nan"), at_most=at_most).met


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seconds", "0"), "--seconds 0: expected a number above 0"),
        (("--device", "gpu"), "device gpu: must be auto, cpu"),
        (("--sedonds", "3"), "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line(load, capsys, words, message):
    common = load("common")
    assert common.run("10-tests", "A test.", lambda call: None, arguments=words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_missing_data_and_damaged_results_are_one_line(load, tmp_path, capsys):
    common = load("common")
    folders = ("--root", str(tmp_path), "--out", str(tmp_path / "out"), "--quick")
    words = (*folders, "--device", "cpu")
    assert common.run("x", "A test.", lambda call: call.nuclei, arguments=words) == 2
    assert "no train.json and val.json; make the folder with gpu/prepare.py" in (
        capsys.readouterr().err
    )
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "x.jsonl").write_text("{\n")
    assert common.run("x", "A test.", lambda call: None, arguments=words) == 2
    assert "x.jsonl, line 1: damaged" in capsys.readouterr().err


def test_the_folder_to_carry_is_made(load, tmp_path, capsys):
    prepare = load("prepare")
    carry = tmp_path / "carry"
    words = [str(tmp_path), "--carry", str(carry), "--no-wheels"]
    assert prepare.main(words) == 2
    assert "give the folder that has data/nuclei" in capsys.readouterr().err
    nuclei = tmp_path / "data" / "nuclei"
    (nuclei / "images").mkdir(parents=True)
    for name in ("train.json", "val.json", "images/a.png"):
        (nuclei / name).write_text("{}")
        (nuclei / name).chmod(0o444)
    for _ in range(2):  # over what is there
        assert prepare.main(words) == 0
    assert (carry / "nuclei" / "images" / "a.png").is_file()
    assert "commit" in json.loads((carry / "commit.json").read_text())
    assert "MiB  in all" in capsys.readouterr().out


def test_a_benchmark_records_elsewhere(tmp_path):
    code = "from records import add_record; add_record('fake', {'seed': 7})"
    environment = {**os.environ, "FCIS_RESULTS": str(tmp_path / "there")}
    command = [sys.executable, "-c", code]
    where = ROOT / "benchmarks"
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=where)
    (found,) = (tmp_path / "there").iterdir()
    (line,) = Journal(found).lines
    assert found.name == "fake.jsonl" and line["seed"] == 7
    assert line["environment"]["processor"] and not (where / "results" / "fake.jsonl").exists()


def test_packages_that_are_not_there_are_named(load):
    missing = load("missing")
    assert missing.missing(["pytest", "no-such-package"]) == ["no-such-package"]
    assert {"fcis-torch", "torch", "faster-coco-eval", "pytest"} <= set(missing.wanted())


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_the_script_for_the_device_can_be_called(tmp_path):
    # wheels that were prepared for a machine may not suit this one
    folders = {"OUT": str(tmp_path / "out"), "WHEELS": str(tmp_path / "wheels")}
    environment = {**os.environ, **folders, "PYTHON": sys.executable}
    command = ["bash", str(GPU / "device.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [*command, "10-tests"],
        env={**environment, "SECONDS_IN_ALL": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3 and "the time is up: 10-tests" in done.stdout


def test_the_readme_names_every_script():
    text = (GPU / "README.md").read_text()
    assert all(f"`{script}`" in text for script in SCRIPTS)
