"""What a run over files returns; what it writes is tested with `fcis predict`."""

import errno
import json
import os
from pathlib import Path

import pytest

from fcis.core.errors import InputError
from fcis.inference.predict_files import Interrupted, check_request, predict_files
from fcis.inference.predictor import Predictor, load_predictor

NOTHING = {"save": None, "score_threshold": None, "max_pixels": None, "resume": False}


@pytest.fixture
def images(save, tmp_path):
    """A folder with three images, the second of which cannot be read."""
    for seed, name in enumerate("abc"):
        save(tmp_path / "in" / f"{name}.png", seed=seed)
    (tmp_path / "in" / "b.png").write_bytes(b"")
    return [str(tmp_path / "in")]


def test_an_outcome(images, tiny_weights, tmp_path):
    predictor, out = load_predictor(tiny_weights), tmp_path / "out"
    outcome = predict_files(predictor, images, out, threshold=0.0)
    assert (outcome.done, outcome.before, outcome.total) == (2, 0, 3)
    assert outcome.instances == len(outcome.results) == 40
    assert outcome.results == json.loads((out / "predictions.json").read_text())
    (failure,) = outcome.failures
    assert failure.startswith(f"{tmp_path / 'in' / 'b.png'}: the file is empty")
    assert (outcome.empty, outcome.notes) == (0, [])
    outcome = predict_files(predictor, images, out, save="jsonl")
    assert (outcome.instances, outcome.empty, outcome.results) == (0, 2, [])
    assert 0 < outcome.top_score < 0.9 and len(outcome.notes) == 2
    outcome = predict_files(predictor, images, out, save="jsonl", resume=True)
    assert (outcome.done, outcome.before) == (0, 2)


def test_a_result_that_cannot_be_written_ends_nothing(save, tiny_weights, tmp_path):
    for name in ("a", "m" * 246, "z"):
        save(tmp_path / "in" / f"{name}.png")
    out = tmp_path / "out"
    outcome = predict_files(load_predictor(tiny_weights), [str(tmp_path / "in")], out)
    (failure,) = outcome.failures
    assert "mmm.overlay.png: cannot be written (" in failure and outcome.done == 2
    names = {result["image_id"] for result in json.loads((out / "predictions.json").read_text())}
    assert names <= {"a", "z"} and (out / "z.overlay.png").is_file()


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(save, tiny_weights, tmp_path, monkeypatch):
    for name in "abc":
        save(tmp_path / "in" / f"{name}.png")
    replace, seen = Path.replace, []

    def replace_some(self, target):
        seen.append(target.name)
        if target.name == "b.overlay.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_some)
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"b\.overlay\.png: cannot be written \(No space left"):
        predict_files(load_predictor(tiny_weights), [str(tmp_path / "in")], out, threshold=0.0)
    assert seen == ["a.overlay.png", "b.overlay.png", "predictions.json"]
    assert sorted(os.listdir(out)) == ["a.overlay.png", "predictions.json"]
    found = json.loads((out / "predictions.json").read_text())
    assert {entry["image_id"] for entry in found} == {"a"}


def test_an_interruption_tells_what_was_found(images, tiny_weights, tmp_path, monkeypatch):
    detect = Predictor.detect
    calls = []

    def second_time(self, images):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", second_time)
    with pytest.raises(Interrupted) as stop:
        predict_files(load_predictor(tiny_weights), images, tmp_path / "out")
    assert isinstance(stop.value, KeyboardInterrupt)
    assert (stop.value.outcome.done, stop.value.outcome.total) == (1, 3)
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == []


def test_what_is_usually_written():
    assert check_request(["a.png"], **NOTHING) == {"overlay", "coco"}
    assert check_request(["a.png", "b.mp4"], **NOTHING) == {"overlay", "jsonl"}
    assert check_request([], **NOTHING | {"save": " masks,,maps "}) == {"masks", "maps"}
    with pytest.raises(InputError, match="--save pictures: expected some of overlay,coco,masks,"):
        check_request([], **NOTHING | {"save": "pictures"})
