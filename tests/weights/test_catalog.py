"""From names to files; nothing here asks the hub or a server."""

import shutil
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch

from fcis.errors import InputError
from fcis.model.fcis import FCIS
from fcis.recipes import named_recipe
from fcis.weights import catalog
from fcis.weights.cache import converted_of, state_of
from fcis.weights.catalog import is_own_file, resolve_weights, zoo
from fcis.weights.file import read_info
from fcis.weights.mapping import chainercv_moves
from fcis.weights.published import PUBLISHED


@pytest.fixture
def obtained(monkeypatch, tmp_path):
    """Let published weights be there, and work in an empty folder; returns what was asked for."""
    asked = []

    def obtain(entry, convert):
        asked.append(entry.name)
        return converted_of(entry)

    monkeypatch.setenv("FCIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(catalog, "obtain", obtain)
    monkeypatch.chdir(tmp_path)
    return asked


def test_files_and_run_folders(tmp_path):
    file, run = tmp_path / "a.safetensors", tmp_path / "run"
    run.mkdir()
    for path in (file, run / "best.safetensors"):
        path.write_bytes(b"")
        assert is_own_file(str(path), path)
    assert is_own_file(str(run), run / "best.safetensors")
    assert not is_own_file("run", run / "best.safetensors") and not is_own_file("a", file)
    assert resolve_weights(str(file)) == file
    assert resolve_weights(str(run)) == run / "best.safetensors"


def test_run_folders_without_weights(tmp_path):
    with pytest.raises(InputError, match=r"this folder has no best\.safetensors; give a run"):
        resolve_weights(str(tmp_path))


def test_zoo(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "_ZOO", tmp_path)
    assert zoo() == {}
    with pytest.raises(InputError, match=r"^--weights is needed: a \.safetensors file, a run fo"):
        resolve_weights(None)
    (tmp_path / "cells.safetensors").write_bytes(b"")
    assert resolve_weights(None) == resolve_weights("cells") == tmp_path / "cells.safetensors"
    (tmp_path / "scenes.safetensors").write_bytes(b"")
    for name, first in ((None, "--weights is needed: "), ("cats", "cats: no such weights; give ")):
        with pytest.raises(InputError, match=r"or one of cells, scenes$") as error:
            resolve_weights(name)
        assert str(error.value).startswith(first)


def test_every_file_of_the_zoo_describes_itself():
    from fcis.weights.file import read_info

    for path in zoo().values():
        assert read_info(path).licence


def test_hub_addresses_go_to_the_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "from_hub", lambda address: tmp_path / address[len("hf://") :])
    assert resolve_weights("hf://owner/name") == tmp_path / "owner" / "name"


# --- published weights ----------------------------------------------------------------------


def test_published_names(obtained):
    for name in PUBLISHED:
        assert resolve_weights(name) == converted_of(PUBLISHED[name])
    assert obtained == ["coco", "voc", "coco-chainercv", "voc-chainercv"]


def test_a_folder_of_images_is_no_rival_of_a_published_name(obtained, tmp_path):
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    assert resolve_weights("coco") == converted_of(PUBLISHED["coco"])
    with pytest.raises(InputError, match=r"^coco: this folder has no best\.safetensors"):
        resolve_weights("./coco")
    assert obtained == ["coco"]


def test_own_weights_come_before_published_ones(obtained, tmp_path):
    (tmp_path / "coco").mkdir()
    for name in ("voc", "coco/best.safetensors"):
        (tmp_path / name).write_bytes(b"")
    assert resolve_weights("voc").samefile(tmp_path / "voc")
    assert resolve_weights("coco").samefile(tmp_path / "coco" / "best.safetensors")
    assert not obtained


def test_the_package_comes_before_all(obtained, monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "_ZOO", tmp_path / "zoo")
    (tmp_path / "zoo").mkdir()
    for name in ("zoo/coco.safetensors", "coco"):
        (tmp_path / name).write_bytes(b"")
    assert resolve_weights("coco") == tmp_path / "zoo" / "coco.safetensors"


def test_choices_name_published_weights(obtained, monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "_ZOO", tmp_path)
    with pytest.raises(
        InputError, match=r"published weights \(coco, voc, coco-ch.*, voc-chainercv\)$"
    ):
        resolve_weights("cats")


def test_load_takes_published_names(monkeypatch, converted, tmp_path):
    import fcis

    monkeypatch.setenv("FCIS_CACHE", str(tmp_path))
    shutil.copy(converted("release"), converted_of(PUBLISHED["voc"]))
    assert fcis.load("voc", device="cpu").info.recipe == "tiny"


@pytest.mark.slow
def test_from_the_server_to_a_file_that_fits(server, monkeypatch, tmp_path):
    """All of it, with a file of ChainerCV's names and sizes whose arrays are zero."""
    monkeypatch.setenv("FCIS_CACHE", str(tmp_path))
    monkeypatch.setenv("FCIS_WEIGHTS_URL", server.address)
    monkeypatch.chdir(tmp_path)
    recipe = named_recipe("voc-resnet101").model
    with torch.device("meta"):
        model = FCIS(replace(recipe, class_names=("x",) * 20, category_ids=(1,) * 20))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    arrays = {
        source: np.zeros(shapes[move.target], np.float32)
        for move in chainercv_moves(recipe.backbone.depths)
        for source in move.sources
    }
    arrays |= {name.replace("gamma", "N"): np.zeros(()) for name in arrays if "gamma" in name}
    assert len(arrays) == 636
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    server.content = file.getvalue()
    for name, mask_category in (("voc", "best-foreground"), ("voc-chainercv", "best-any")):
        path = resolve_weights(name)
        info = read_info(path)
        assert info.model.conventions.mask_category == mask_category
        assert info.model.class_names[14] == "person"
        assert state_of(PUBLISHED[name]) == "ready"
        server.status = 404
        assert resolve_weights(name) == path
        server.status = None
    assert len(server.asked) == 2
