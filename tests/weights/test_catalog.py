"""From names to files; nothing here asks the hub or a server."""

import shutil
import tomllib
from dataclasses import replace
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from fcis.core.errors import InputError
from fcis.data.scenes.shape_scenes import CATEGORIES
from fcis.model.fcis import FCIS
from fcis.recipe.named import named_recipe
from fcis.weights import catalog
from fcis.weights.cache import converted_of, state_of
from fcis.weights.catalog import (
    ZOO,
    card_of,
    default_weights,
    is_own_file,
    resolve_weights,
    zoo,
)
from fcis.weights.foreign.mapping import chainercv_moves
from fcis.weights.published import PUBLISHED
from fcis.weights.weights_file import read_info

MOST_BYTES = 16 * 2**20


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


def test_names_of_the_zoo(zoo_folder, add_to_zoo):
    assert zoo() == {}
    cells = add_to_zoo("cells", "tests")
    assert zoo() == {"cells": cells} and resolve_weights("cells") == cells
    (zoo_folder / "README.md").write_text("")
    assert list(zoo()) == ["cells"]


def test_the_only_weights_for_images_of_users_are_meant_without_a_name(add_to_zoo):
    add_to_zoo("scenes", "drawn shapes")
    with pytest.raises(InputError, match=r"^--weights is needed: scenes \(drawn shapes\), a \.saf"):
        default_weights()
    cells = add_to_zoo("cells", "fluorescence")
    assert default_weights() == "cells" and resolve_weights(None) == cells
    add_to_zoo("photos", "photographs")
    choices = (
        "cells (fluorescence), photos (photographs), scenes (drawn shapes), a .safetensors file, "
        "a run folder, hf://owner/name, or published weights (coco, voc, coco-chainercv, "
        "voc-chainercv)"
    )
    for name, first in ((None, "--weights is needed: "), ("cats", "cats: no such weights; give ")):
        with pytest.raises(InputError) as error:
            resolve_weights(name)
        assert str(error.value) == first + choices


def test_without_a_zoo_there_is_still_a_choice(zoo_folder):
    with pytest.raises(InputError, match=r"^--weights is needed: a \.safetensors file, a run fo"):
        default_weights()


def test_cards_lie_beside_their_weights(tmp_path, add_to_zoo):
    path = add_to_zoo("cells", "tests")
    assert card_of(path) == path.with_name("cells.md")
    assert card_of(tmp_path / "other.safetensors") is None


def shortcomings(folder):
    """Return what is wrong with a zoo, a line each."""
    found = []
    for path in folder.glob("*.safetensors"):
        info = read_info(path)
        said = {name: getattr(info, name) for name in ("about", "licence", "training_data")}
        found += [f"{path.stem}: no {name}" for name, text in said.items() if not text]
        found += [] if info.metrics and info.thresholds else [f"{path.stem}: not measured"]
        found += [f"{path.stem}: no card"] if card_of(path) is None else []
        found += [f"{path.stem}: too large"] if path.stat().st_size > MOST_BYTES else []
    weights = {path.stem for path in folder.glob("*.safetensors")} | {"README"}
    return found + [f"{c.stem}: no weights" for c in folder.glob("*.md") if c.stem not in weights]


def test_everything_in_the_zoo_is_described_measured_and_small():
    assert ZOO.is_dir() and shortcomings(ZOO) == []


def test_what_a_zoo_may_not_hold(zoo_folder, add_to_zoo, monkeypatch):
    cells = add_to_zoo("cells", "tests")
    assert shortcomings(zoo_folder) == []
    monkeypatch.setattr(f"{__name__}.MOST_BYTES", 1000)
    (zoo_folder / "cats.md").write_text("")
    add_to_zoo("dogs", "", CATEGORIES)
    cells.with_suffix(".md").unlink()
    assert sorted(shortcomings(zoo_folder)) == [
        "cats: no weights",
        "cells: no card",
        "cells: too large",
        "dogs: no about",
        "dogs: not measured",
        "dogs: too large",
    ]


def test_the_zoo_is_part_of_the_distribution():
    """The wheel takes all of src/fcis but what git ignores."""
    root = Path(__file__).resolve().parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert settings == {"targets": {"wheel": {"packages": ["src/fcis"]}}}
    assert root / "src" / "fcis" / "weights" / "zoo" == ZOO
    # patterns of folders and of files that python makes; none names weights or cards
    patterns = (root / ".gitignore").read_text().split()
    for path in ("src/fcis/weights/zoo/cells.safetensors", "src/fcis/weights/zoo/cells.md"):
        parts = path.split("/")
        assert not [p for p in patterns if any(fnmatch(part, p.strip("/")) for part in parts)]


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


def test_the_package_comes_before_all(obtained, zoo_folder, tmp_path):
    for name in ("zoo/coco.safetensors", "coco"):
        (tmp_path / name).write_bytes(b"")
    assert resolve_weights("coco") == tmp_path / "zoo" / "coco.safetensors"


def test_choices_name_published_weights(obtained, zoo_folder):
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
        assert info.model.detection.mask_category == mask_category
        assert info.model.class_names[14] == "person"
        assert state_of(PUBLISHED[name]) == "ready"
        server.status = 404
        assert resolve_weights(name) == path
        server.status = None
    assert len(server.asked) == 2
