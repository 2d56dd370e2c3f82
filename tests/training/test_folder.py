import json
import os
from dataclasses import replace

import pytest

from fcis.core.errors import InputError
from fcis.recipe.as_json import from_json, with_setting
from fcis.recipe.types import Recipe
from fcis.training.folder import begin_folder, check_folder


def test_a_new_folder_gets_the_recipe(tmp_path, tiny):
    folder = tmp_path / "deep" / "run"
    assert check_folder(folder, tiny, resume=False) == (tiny, None)
    assert not folder.exists()
    begin_folder(folder, tiny)
    data = json.loads((folder / "recipe.json").read_text())
    assert from_json(Recipe, data, "recipe") == tiny
    assert os.listdir(folder) == ["recipe.json"]


def test_a_run_is_gone_on_with_only_if_asked(tmp_path, tiny):
    begin_folder(tmp_path, tiny)
    with pytest.raises(InputError, match="holds a training run; go on with --resume or choose"):
        check_folder(tmp_path, tiny, resume=False)
    assert check_folder(tmp_path, tiny, resume=True) == (tiny, None)
    (tmp_path / "last.ckpt").write_bytes(b"")
    assert check_folder(tmp_path, tiny, resume=True) == (tiny, tmp_path / "last.ckpt")


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
    open_batch = with_setting(tiny, "batch", "0")
    assert check_folder(tmp_path, open_batch, resume=True) == (tiny, None)
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


def test_a_recipe_that_says_the_same_stays_as_it_was_written(tmp_path, tiny):
    begin_folder(tmp_path, tiny)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    before = path.read_bytes()
    begin_folder(tmp_path, tiny)
    assert path.read_bytes() == before
    begin_folder(tmp_path, with_setting(tiny, "pictures", "7"))
    assert from_json(Recipe, json.loads(path.read_text()), "recipe").training.pictures == 7


def test_a_folder_that_cannot_be_made(tmp_path, tiny):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=r"recipe\.json: cannot be written \(File exists\); choose another"
    ):
        begin_folder(tmp_path / "file", tiny)
    with pytest.raises(InputError, match=r"recipe\.json: cannot be written \(Not a directory\)"):
        begin_folder(tmp_path / "file" / "run", tiny)
    (tmp_path / "recipe.json").mkdir()
    with pytest.raises(InputError, match=r"cannot be written \(Is a directory\)"):
        begin_folder(tmp_path, tiny)
