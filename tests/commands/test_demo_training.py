import json
from dataclasses import replace

from PIL import Image

from fcis.commands import demo_training as demo
from fcis.recipes import named_recipe


def test_demo_leaves_figures_and_pictures(fcis, zoo_folder, tmp_path, monkeypatch):
    tiny = replace(named_recipe("tiny"), name="demo")
    short = replace(tiny, training=replace(tiny.training, steps=4))
    monkeypatch.setattr(demo, "demo_recipe", lambda: short)
    monkeypatch.setattr(demo, "TRAIN_SCENES", 4)
    monkeypatch.setattr(demo, "HELD_OUT_SCENES", 3)
    code, out, _ = fcis("demo", "--out", tmp_path / "demo", "--device", "cpu")
    assert code == 0
    folder = tmp_path / "demo"
    assert json.loads((folder / "figures.json").read_text())["images"] == 3
    assert isinstance(json.loads((folder / "predictions.json").read_text()), list)
    pictures = sorted(p.name for p in (folder / "overlays").iterdir())
    assert pictures == [f"scene-2-{i:06d}.overlay.png" for i in range(3)] + ["sheet.png"]
    Image.open(folder / "overlays" / "sheet.png").load()
    for text in ("mask AP50 on 3 held-out scenes: ", f"--weights {folder / 'run'}"):
        assert text in out


def test_train_and_held_out_scenes_differ():
    assert demo.TRAIN_SEED != demo.HELD_OUT_SEED


def test_recipe_is_that_of_the_scenes_with_anchors_for_enlarged_small_ones():
    recipe, base = demo.demo_recipe(), named_recipe("scenes")
    assert recipe.model.backbone == base.model.backbone
    assert recipe.model.head == base.model.head
    side = demo._SIDE * recipe.model.preprocessing.zoom
    assert recipe.training.augmentation.crop == side
    assert 16 * recipe.model.preprocessing.zoom <= min(recipe.model.rpn.anchor_sizes)
    assert max(recipe.model.rpn.anchor_sizes) <= side / 2


def test_unwritable_out(refused, zoo_folder, tmp_path):
    (tmp_path / "file").write_text("")
    error = refused("demo", "--out", tmp_path / "file" / "demo")
    assert "the folder cannot be made (Not a directory); choose another --out" in error
