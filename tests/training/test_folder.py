import json
import os
from dataclasses import replace

import pytest
import torch

from fcis.core.errors import InputError
from fcis.recipe.as_json import from_json, with_setting
from fcis.recipe.types import Recipe
from fcis.training.folder import Progressed, begin_folder, check_folder


def checkpoint(steps=7, best=0.25, best_step=5):
    validation = {"best": best, "best_step": best_step}
    return {"global_step": steps, "callbacks": {"Validation": validation}, "state_dict": {}}


def test_a_new_folder_gets_the_recipe(tmp_path, tiny):
    folder = tmp_path / "deep" / "run"
    assert check_folder(folder, tiny, resume=False) == Progressed()
    assert not folder.exists()
    begin_folder(folder, tiny)
    data = json.loads((folder / "recipe.json").read_text())
    assert from_json(Recipe, data, "recipe") == tiny
    assert os.listdir(folder) == ["recipe.json"]


def test_a_run_is_gone_on_with_only_if_asked(tmp_path, tiny):
    begin_folder(tmp_path, tiny)
    with pytest.raises(InputError, match="holds a training run; go on with --resume or choose"):
        check_folder(tmp_path, tiny, resume=False)
    assert check_folder(tmp_path, tiny, resume=True) == Progressed()
    torch.save(checkpoint(), tmp_path / "last.ckpt")
    expected = Progressed(path=tmp_path / "last.ckpt", steps=7, best=0.25, best_step=5)
    assert check_folder(tmp_path, tiny, resume=True) == expected
    state = checkpoint()
    state["callbacks"]["Validation"]["stale"] = 2
    torch.save(state, tmp_path / "last.ckpt")
    assert check_folder(tmp_path, tiny, resume=True) == replace(expected, stale=2)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimiser.lr", "0.5", "was begun with training.optimiser.lr = 0.003, not 0.5; resume"),
        ("steps", "3", "was begun with training.steps = 20, not 3"),
        ("category_ids", "[9]", r"was begun with model.category_ids = \[1, 2"),
    ],
)
def test_another_recipe_is_refused_naming_the_field(tmp_path, tiny, key, value, message):
    begin_folder(tmp_path, tiny)
    with pytest.raises(InputError, match=message):
        check_folder(tmp_path, with_setting(tiny, key, value), resume=True)


@pytest.mark.parametrize("setting", ["patience", "pictures"])
def test_what_does_not_change_the_weights_may_be_another(tmp_path, tiny, setting):
    begin_folder(tmp_path, tiny)
    check_folder(tmp_path, with_setting(tiny, setting, "7"), resume=True)


def test_an_open_batch_is_that_of_the_run(tmp_path, tiny):
    begin_folder(tmp_path, tiny)
    assert check_folder(tmp_path, tiny, resume=True).batch == 0
    open_batch = with_setting(tiny, "batch", "0")
    assert check_folder(tmp_path, open_batch, resume=True).batch == tiny.training.batch
    other = with_setting(open_batch, "steps", "3")
    with pytest.raises(InputError, match=r"was begun with training\.steps = 20, not 3"):
        check_folder(tmp_path, other, resume=True)


def test_another_description_is_no_other_recipe(tmp_path, tiny):
    begin_folder(tmp_path, tiny)
    check_folder(tmp_path, replace(tiny, description="said better"), resume=True)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_a_damaged_recipe(tmp_path, tiny, content):
    (tmp_path / "recipe.json").write_bytes(content)
    with pytest.raises(InputError, match=r"recipe\.json: not JSON; begin again with another --out"):
        check_folder(tmp_path, tiny, resume=True)


def damaged(path):
    torch.save(checkpoint() | {"state_dict": {"a": torch.zeros(1000)}}, path)
    whole = path.read_bytes()
    yield b""
    yield b"not a checkpoint"
    yield b"\x80\x02}q\x00."  # a pickle of {}
    for cut in (10, 300, len(whole) // 2, len(whole) - 10):
        yield whole[:cut]


@pytest.mark.parametrize("number", range(7))
def test_a_damaged_checkpoint(tmp_path, tiny, number):
    begin_folder(tmp_path, tiny)
    path = tmp_path / "last.ckpt"
    path.write_bytes(list(damaged(path))[number])
    with pytest.raises(InputError, match=r"last\.ckpt: damaged; delete it to begin this run anew"):
        check_folder(tmp_path, tiny, resume=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        {"global_step": 3, "callbacks": {}},
        {"global_step": None, "callbacks": {"Validation": {"best": 0.0, "best_step": 0}}},
    ],
)
def test_a_checkpoint_of_something_else(tmp_path, tiny, wrong):
    begin_folder(tmp_path, tiny)
    torch.save(wrong, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="damaged"):
        check_folder(tmp_path, tiny, resume=True)


class Trap:
    """What a hostile checkpoint would run."""

    def __reduce__(self):
        return os.system, ("exit 1",)


def test_nothing_in_a_checkpoint_is_executed(tmp_path, tiny):
    begin_folder(tmp_path, tiny)
    torch.save(checkpoint() | {"extra": Trap()}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="damaged"):
        check_folder(tmp_path, tiny, resume=True)


def test_a_folder_that_cannot_be_made(tmp_path, tiny):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=r"file: cannot be written \(File exists\); choose another"
    ):
        begin_folder(tmp_path / "file", tiny)
    with pytest.raises(InputError, match=r"run: cannot be written \(Not a directory\)"):
        begin_folder(tmp_path / "file" / "run", tiny)
    (tmp_path / "recipe.json").mkdir()
    with pytest.raises(InputError, match=r"cannot be written \(Is a directory\)"):
        begin_folder(tmp_path, tiny)
