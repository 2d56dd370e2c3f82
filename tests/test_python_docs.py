"""docs/python.md: each command and its Python twin do the same; the example runs."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcis.cli.main import main
from fcis.lab.benchmark.timing import Method
from fcis.lab.reproduce import times

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text()
README = (ROOT / "README.md").read_text()
PAIRS = re.findall(r"^    (fcis [^\n]*)\n\n```python\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL)

# What takes minutes or a connection, and what stands for it here.
STANDS_FOR = {
    '"nuclei-cpu"': '"tiny", settings=["steps=2", "crop=64", "workers=0"], device="cpu"',
    "--recipe nuclei-cpu": "--recipe tiny --set steps=2 --set crop=64 --set workers=0 --device cpu",
    '"nuclei"': '"scenes"',
    "--weights nuclei": "--weights scenes",
    # two steps find nothing right, and a calibration asks for something
    '"val.json", "runs/cells", out=': '"scenes:2:3", "scenes", device="cpu", out=',
    "val.json --weights runs/cells --calibrate": "scenes:2:3 --weights scenes --device cpu "
    "--calibrate",
}
FETCHED = ("--weights coco", ".params")
LONG = "fcis reproduce"
FEWER = ["preprocessing.zoom=0.5", "post_nms=10", "crop=96", "stem_width=4", "steps=2"]


def short(text):
    for long, stand_in in STANDS_FOR.items():
        text = text.replace(long, stand_in)
    return text


@pytest.fixture(scope="module")
def materials(tmp_path_factory):
    """A folder with all that the commands name, a run included."""
    import av

    folder = tmp_path_factory.mktemp("materials")
    for name, data in (("train", "scenes:2:1"), ("val", "scenes:1:2")):
        assert main(["data", "convert", data, str(folder / name), "--to", "coco"]) == 0
        (folder / f"{name}.json").write_bytes((folder / name / "annotations.json").read_bytes())
        (folder / "images").mkdir(exist_ok=True)
        for image in (folder / name / "images").iterdir():
            image.rename(folder / "images" / image.name)
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name in ("photos/a.png", "photos/b.jpg", "slide.tif"):
        side = 700 if name == "slide.tif" else 96
        pixels = rng.integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
        Image.fromarray(pixels.repeat(4, axis=0).repeat(4, axis=1)).save(folder / name)
    with av.open(str(folder / "film.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(
                rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), format="rgb24"
            )
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    run = short(next(command for command, _ in PAIRS if command.startswith("fcis train")))
    words = shlex.split(run.replace("train.json", str(folder / "train.json")).replace(
        "val.json", str(folder / "val.json")
    ))  # fmt: skip
    words[words.index("--out") + 1] = str(folder / "runs" / "cells")
    assert main(words[1:]) == 0
    return folder


def left(folder, before):
    """Return the new files of a folder and what is in them, as far as no clock has a say."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        skipped = name in before or "tensorboard" in name or name.endswith((".ckpt", ".png"))
        if path.is_file() and not skipped:
            data = path.read_bytes()
            if path.suffix == ".json":
                document = json.loads(data)
                if isinstance(document, dict):
                    document.pop("seconds_per_image", None)
                data = document
            elif path.suffix == ".csv":
                data = re.sub(rb"images_per_second|\d+\.\d+", b"", data)
            found[name] = data
    return found


def test_each_command_of_the_readme_has_its_twin():
    paired = [command for command, _ in PAIRS]
    commands = set(re.findall(r"^    (fcis .*)$", README, re.M))
    assert len(commands) >= 9 and commands <= set(paired)
    # those in the text
    for words in set(re.findall(r"`(fcis [^`]+)`", README)):
        name, *options = words.removeprefix("fcis ").split()
        assert any(f" {name} " in f"{c} " and all(o in c for o in options) for c in paired), words
    assert {"fcis info", "fcis data", "fcis reproduce"} < {" ".join(c.split()[:2]) for c in paired}


@pytest.mark.parametrize(
    ("command", "code"),
    [pair for pair in PAIRS if not any(word in pair[0] for word in (*FETCHED, LONG))],
    ids=lambda value: " ".join(value.split()[:4]),
)
def test_a_command_and_its_twin_do_the_same(
    materials, tmp_path, monkeypatch, capsys, command, code
):
    found = []
    for name in ("command", "python"):
        folder = tmp_path / name
        shutil.copytree(materials, folder)
        if "fcis train" in command:
            shutil.rmtree(folder / "runs")
        before = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
        monkeypatch.chdir(folder)
        capsys.readouterr()
        if name == "command":
            assert main(shlex.split(short(command))[1:]) == 0
        else:
            exec(compile("import fcis\n" + short(code), "python.md", "exec"), {})
        found.append(left(folder, before) or capsys.readouterr().out)
    assert found[0] and found[0] == found[1]


@pytest.mark.slow
def test_a_table_and_its_twin_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(times, "METHOD", Method(rounds=1, least_seconds=0.0))
    ((command, code),) = [pair for pair in PAIRS if pair[0].startswith(LONG)]
    tiny = "scenes:4:0 --recipe tiny --seeds 1 --device cpu " + " ".join(
        f"--set {s}" for s in FEWER
    )
    command = command.replace("scenes", tiny)
    options = f'recipe="tiny", seeds=1, device="cpu", settings={FEWER}, tell='
    code = code.replace('"scenes"', '"scenes:4:0"').replace("tell=", options)
    found = []
    for name in ("command", "python"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        if name == "command":
            assert main(shlex.split(command)[1:]) == 0
        else:
            exec(compile(code, "python.md", "exec"), {})
        table = folder / "runs" / "paper" / "table1"
        data = json.loads((table / "table.json").read_text())
        figures = {row["name"]: row["figures"] for row in data["rows"]}
        found.append((figures, left(table / "detections", ())))
    assert len(found[0][0]) == len(found[0][1]) == 5 and found[0] == found[1]


@pytest.mark.slow
def test_the_example_runs(tmp_path):
    script = ROOT / "examples" / "python_interface.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "mask AP" in done.stdout and "instances in 3 images" in done.stdout
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert "segm" in json.loads((tmp_path / "figures.json").read_text())
    names = {path.name for path in (tmp_path / "found").rglob("*") if path.is_file()}
    assert "predictions.json" in names and any(n.endswith(".overlay.png") for n in names)
