"""Each benchmark in its quick form, from the command line to its files."""

import json

import pytest
import torch
from PIL import Image


@pytest.fixture
def files(tmp_path):
    return tmp_path / "new" / "figures.json", tmp_path / "new" / "plot.png"


def checked(done, files, action):
    """Return the figures after checks that hold for all actions."""
    code, out, err = done
    assert code == 0, err
    path, plot = files
    figures = json.loads(path.read_text())
    assert figures["benchmark"] == action and figures["quick"] is True
    assert figures["method"] == {"rounds": 1, "warm_up": 1, "least_seconds": 0}
    assert figures["environment"]["device"] == "cpu"
    assert out.startswith("\n\n".join(figures["text"]))
    assert "these figures say nothing of speed" in out
    assert out.splitlines()[-2:] == [f"figures: {path}", f"plot: {plot}"]
    assert "measuring " in err
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
    return figures


def test_ops(fcis, files):
    done = fcis(
        "benchmark", "ops", "--quick", "--device", "cpu", "--json", files[0], "--plot", files[1]
    )
    figures = checked(done, files, "ops")
    found = dict.fromkeys(c["sampling"] for c in figures["comparisons"])
    assert list(found) == ["native", "align", "pool"]
    assert {p["axis"] for p in figures["scaling"]} == {"rois", "classes"}
    assert "| native   |" in done[1]


def test_inference(fcis, files):
    line = "benchmark inference --recipe tiny --quick --no-peer --device cpu".split()
    done = fcis(*line, "--batch", 3, "--threads", 1, "--json", files[0], "--plot", files[1])
    figures = checked(done, files, "inference")
    assert figures["network"] == "tiny" and figures["peers"] == []
    assert figures["environment"]["threads"] == 1
    assert [t["batch"] for t in figures["throughput"]] == [3]
    assert min(figures["sides"]) == 64


def test_inference_with_weights_and_an_image(fcis, tiny_weights, save, tmp_path):
    line = "benchmark inference --quick --no-peer --device cpu --repeats 2".split()
    image = save(tmp_path / "x.png", height=60, width=90)
    path = tmp_path / "f.json"
    code, _, err = fcis(
        *line, "--weights", tiny_weights, "--image", image, "--size", "80", "--json", path
    )
    assert code == 0, err
    figures = json.loads(path.read_text())
    assert (figures["network"], figures["sides"]) == ("tiny", [80, 120])
    assert figures["method"]["rounds"] == 2
    assert figures["settings"]["image"] == "x.png"


@pytest.mark.slow
def test_inference_with_its_peer(fcis, tmp_path):
    path = tmp_path / "f.json"
    line = "benchmark inference --recipe tiny --quick --device cpu --batch 1 --json".split()
    code, _, err = fcis(*line, path)
    assert code == 0, err
    ours, usual, full = json.loads(path.read_text())["peers"]
    assert ours["name"] == "tiny, depths 3-4-6-3"
    assert (usual["detections"], full["detections"]) == (0, 100)


def test_training(fcis, files):
    line = "benchmark training --recipe tiny --quick --device cpu".split()
    done = fcis(*line, "--set", "training.seed=3", "--json", files[0], "--plot", files[1])
    figures = checked(done, files, "training")
    (step,) = figures["steps"]
    assert (step["recipe"], step["images"], step["workers"]) == ("tiny", 1, 0)
    assert "| backward " in done[1]


def test_training_on_given_data(fcis, tmp_path):
    path = tmp_path / "f.json"
    line = "benchmark training --recipe tiny --quick --device cpu --data scenes:2 --json".split()
    assert fcis(*line, path)[0] == 0
    assert json.loads(path.read_text())["steps"][0]["images"] == 1


def test_the_number_of_threads_is_restored(fcis):
    before = torch.get_num_threads()
    assert fcis("benchmark", "ops", "--quick", "--sampling", "native", "--threads", 2)[0] == 0
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ops --threads 0", "--threads 0: expected at least 1"),
        ("ops --repeats 0", "--repeats 0: expected at least 1"),
        ("ops --device gpu", "device gpu: must be auto, cpu, cuda, cuda:N or mps"),
        ("ops --json /", "--json /: is a folder; name a file in it"),
        ("inference --batch 1 --batch 0", "--batch 0: expected at least 1"),
        ("inference --classes 0", "--classes 0: expected at least 1"),
        ("inference --recipe none", "--recipe none: no such recipe; there are"),
        ("inference --recipe tiny --image none.png", "none.png: no such file"),
        ("inference --recipe tiny --size 3", "--size 3: expected SHORT or SHORT:LONG"),
        ("inference --weights w --set a=1", "--set changes a recipe; leave out --weights or --set"),
        ("training --workers -1", "--workers -1: expected at least 0"),
        ("training --batch 0", "--batch 0: expected at least 1"),
        ("training --images x", "--images belongs to the .json of --data; give that too"),
        ("training --set steps", "--set steps: expected KEY=VALUE, e.g. steps=500"),
        ("training --data none.json", "none.json: "),
    ],
)
def test_bad_input(refused, line, message):
    assert message in refused("benchmark", *line.split())
