import copy
import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from fcis.core.errors import InputError
from fcis.evaluation.calibration import Calibration
from fcis.model.build import build_model
from fcis.model.folding import fold_norms
from fcis.recipe.conventions import with_conventions
from fcis.weights.weights_file import (
    load_weights,
    read_arrays,
    read_info,
    rewrite_info,
    save_weights,
    with_metrics,
)

from .comparison import same_arrays


def test_the_way_there_and_back(saved_path, saved_model, saved_info):
    assert read_info(saved_path) == saved_info
    other = build_model(read_info(saved_path).model, seed=2)
    assert not same_arrays(saved_model, other)
    load_weights(saved_path, other)
    assert same_arrays(saved_model, other)
    assert not any(name.endswith("num_batches_tracked") for name in read_arrays(saved_path))


def test_the_same_weights_give_the_same_bytes(saved_path, tmp_path, saved_model, saved_info):
    again = tmp_path / "again.safetensors"
    save_weights(again, saved_model, saved_info)
    assert again.read_bytes() == saved_path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["again.safetensors", "w.safetensors"]


def test_arrays_that_do_not_lie_row_by_row(tmp_path, saved_model, saved_info):
    with torch.no_grad():
        weight = saved_model.rpn.conv.weight
        saved_model.rpn.conv.weight = nn.Parameter(
            weight.contiguous(memory_format=torch.channels_last)
        )
    save_weights(tmp_path / "w.safetensors", saved_model, saved_info)
    assert torch.equal(read_arrays(tmp_path / "w.safetensors")["rpn.conv.weight"], weight)


def test_figures_and_thresholds(saved_info):
    assert saved_info.threshold_of() == (1.0, 0.25, 0.75)
    assert replace(saved_info, thresholds=()).threshold_of() == (1.0, 0.5, 0.5)
    changed = with_metrics(saved_info, {"b": 2.0, "a": 1.0}, (0.5, 0.6))
    assert changed.metrics == (("a", 1.0), ("b", 2.0)) and changed.thresholds == (0.5, 0.6)
    assert changed.spread == ()  # it was of other figures


def test_half_precision_is_read_as_float32(tmp_path):
    save_file({"a": torch.tensor([1.5], dtype=torch.float16)}, tmp_path / "half.safetensors")
    (value,) = read_arrays(tmp_path / "half.safetensors").values()
    assert value.dtype == torch.float32 and value.tolist() == [1.5]


def entry_of(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["fcis"])


def test_formats_of_before_are_read_and_written_anew(saved_path, tmp_path, saved_info):
    """Formats 1 and 2, the latter with a calibration, have recipes of version 1."""
    assert entry_of(saved_path)["format"] == 3 and entry_of(saved_path)["model"]["version"] == 2
    path = tmp_path / "old.safetensors"
    for old, calibration in ((1, None), (2, Calibration(temperature=1.3, bias=-0.1))):
        info = replace(saved_info, calibration=calibration)
        rewrite_info(saved_path, path, info)
        new = entry_of(path)
        assert new["format"] == old + 2
        model = copy.deepcopy(new["model"])
        del model["version"], model["detection"]["vote"], model["head"]["sampling"]
        model["conventions"] = {"vote": "binary", "sampling": "native", "negative_low": 0.1}
        entry = json.dumps(new | {"format": old, "model": model})
        save_file(read_arrays(saved_path), path, metadata={"fcis": entry})
        rows = {"vote": "binary", "sampling": "native"}
        info = replace(info, model=with_conventions(info.model, rows))
        assert read_info(path) == info
        rewrite_info(path, path, info)
        assert entry_of(path)["format"] == old + 2 and read_info(path) == info


# calibrated weights


def test_a_calibration_is_kept_and_changes_no_array(saved_path, tmp_path, saved_info):
    with safe_open(saved_path, framework="pt") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    found = Calibration(temperature=1.3, bias=-0.1)
    changed = replace(saved_info, calibration=found, thresholds=(0.1, 0.2))
    saved_path.chmod(0o640)
    rewrite_info(saved_path, saved_path, changed)
    assert read_info(saved_path) == changed and saved_path.stat().st_mode & 0o777 == 0o640
    with safe_open(saved_path, framework="pt") as file:
        assert file.keys() == list(arrays)
        assert all(torch.equal(file.get_tensor(name), arrays[name]) for name in arrays)
    assert entry_of(saved_path)["format"] == 4
    assert os.listdir(tmp_path) == ["w.safetensors"]
    rewrite_info(saved_path, tmp_path / "back.safetensors", saved_info)
    assert read_info(tmp_path / "back.safetensors") == saved_info


def test_the_same_bytes_after_there_and_back(saved_path, saved_info):
    before = saved_path.read_bytes()
    rewrite_info(
        saved_path, saved_path, replace(saved_info, calibration=Calibration(temperature=2.0))
    )
    assert saved_path.read_bytes() != before
    rewrite_info(saved_path, saved_path, saved_info)
    assert saved_path.read_bytes() == before


def test_arrays_of_other_types_and_other_entries_stay(saved_path, tmp_path, saved_info):
    with safe_open(saved_path, framework="pt") as file:
        metadata = file.metadata() | {"format": "pt"}
    values = torch.tensor([1.5, float("nan"), -0.0])
    half = {"a": values.half(), "b": values.bfloat16(), "c": values.double()}
    save_file(half, saved_path, metadata=metadata)
    rewrite_info(saved_path, tmp_path / "new.safetensors", replace(saved_info, recipe="other"))
    with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        assert file.metadata().keys() == {"fcis", "format"}
        for name, value in half.items():
            got = file.get_tensor(name)
            assert got.dtype == value.dtype
            assert got.view(torch.uint8).equal(value.view(torch.uint8))


def test_a_link_stays_a_link(saved_path, tmp_path, saved_info):
    link = tmp_path / "link.safetensors"
    link.symlink_to(saved_path)
    rewrite_info(link, link, replace(saved_info, recipe="other"))
    assert link.is_symlink() and read_info(saved_path).recipe == "other"


def test_files_that_are_not_rewritten(saved_path, tmp_path, saved_info, monkeypatch):
    with pytest.raises(InputError, match="no such weights file"):
        rewrite_info(tmp_path / "gone", saved_path, saved_info)
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign")
    before = saved_path.read_bytes()
    with pytest.raises(InputError, match="has no description by fcis"):
        rewrite_info(tmp_path / "foreign", saved_path, saved_info)
    with pytest.raises(InputError, match=r"w\.safetensors: cannot be written \(.+\); make room"):
        rewrite_info(saved_path, tmp_path / "foreign" / "w.safetensors", saved_info)

    def stops(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stops)
    with pytest.raises(KeyboardInterrupt):
        rewrite_info(saved_path, saved_path, replace(saved_info, recipe="other"))
    assert saved_path.read_bytes() == before


# writing


def test_a_folded_model_is_not_saved(tmp_path, saved_info):
    model = fold_norms(build_model(saved_info.model).eval())
    with pytest.raises(ValueError, match="norms are folded into convolutions; load it with fold="):
        save_weights(tmp_path / "w.safetensors", model, saved_info)
    assert not (tmp_path / "w.safetensors").exists()


def test_an_interrupted_write_leaves_the_previous_file(saved_path, saved_info, monkeypatch):
    before = saved_path.read_bytes()

    def stops(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", stops)
        with pytest.raises(KeyboardInterrupt):
            save_weights(saved_path, build_model(saved_info.model, seed=7), saved_info)
    assert saved_path.read_bytes() == before
    save_weights(saved_path, build_model(saved_info.model, seed=7), saved_info)
    assert saved_path.read_bytes() != before
    assert os.listdir(saved_path.parent) == ["w.safetensors"]


def test_places_that_cannot_be_written(tmp_path, saved_model, saved_info):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"w\.safetensors: cannot be written \(.+\); make room"):
        save_weights(tmp_path / "file" / "w.safetensors", saved_model, saved_info)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"folder: cannot be written \(.*[Dd]irectory"):
        save_weights(tmp_path / "folder", saved_model, saved_info)


def test_others_may_read_a_file_as_any_other(tmp_path, tiny_weights):
    model = build_model(read_info(tiny_weights).model)
    save_weights(tmp_path / "w.safetensors", model, read_info(tiny_weights))
    (tmp_path / "plain").write_bytes(b"")
    mode = (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "w.safetensors").stat().st_mode == mode
