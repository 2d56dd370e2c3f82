"""Scripts of the folder benchmarks/ that are long to run by hand, on a few small images."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from fcis.data.formats.write_coco import write_coco
from fcis.data.scenes import scene_dataset

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
SIZE = (72, 80)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder like that of the nuclei: train.json, val.json and images/."""
    folder = tmp_path_factory.mktemp("images")
    for seed, split in enumerate(("train", "val")):
        dataset = scene_dataset(3, seed, size=SIZE)
        names = [f"{split}-{i}.png" for i in range(3)]
        write_coco(dataset, names, folder).rename(folder / f"{split}.json")
    return folder


@pytest.fixture
def script(monkeypatch, tmp_path):
    """A function: import a script whose results of record go into a temporary folder."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def load(name):
        import_module("records").RESULTS = tmp_path
        return import_module(name)

    yield load
    own = {path.stem for path in SCRIPTS.glob("*.py")}
    for name in (set(sys.modules) - before) & own:
        del sys.modules[name]


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, arguments)])
    module.main()


def lines(folder, name):
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_errors_of_weights_as_they_are_and_with_other_settings(
    script, images, tiny_weights, tmp_path, monkeypatch
):
    module = script("nuclei_errors")
    picture = tmp_path / "errors.png"
    arguments = [images, "--weights", tiny_weights, "--picture", picture, "--every", 2]
    run(module, monkeypatch, *arguments)
    assert picture.read_bytes().startswith(b"\x89PNG")
    soft = ["--set", "detection.mask_suppression=soft", "--set", "detection.nms=0.7"]
    run(module, monkeypatch, *arguments, *soft)
    plain, other = lines(tmp_path, "nuclei-errors")
    assert plain["images"] == other["images"] == 2 and plain["settings"] == []
    assert other["settings"] == ["detection.mask_suppression=soft", "detection.nms=0.7"]
    for line in (plain, other):
        mistakes = line["mistakes"]
        annotated = sum(size["annotated"] for size in mistakes["sizes"])
        assert annotated == mistakes["right"] + mistakes["missed"] > 3
        assert mistakes["correct"] == pytest.approx(line["dsb"]["0.50"])
    with pytest.raises(SystemExit, match=r"--set head.k: only detection., .* after training"):
        run(module, monkeypatch, *arguments, "--set", "head.k=3")
