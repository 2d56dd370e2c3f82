import json
from dataclasses import replace

from PIL import Image

from fcis.commands import demo
from fcis.recipes import named_recipe


def test_demo_leaves_figures_and_pictures(fcis, tmp_path, monkeypatch):
    recipe = named_recipe("tiny")
    asked = []

    def named(name):
        asked.append(name)
        return replace(recipe, name=name)

    monkeypatch.setattr(demo, "named_recipe", named)
    monkeypatch.setattr(demo, "TRAIN", "scenes:4:1")
    monkeypatch.setattr(demo, "HELD_OUT", "scenes:3:2")
    monkeypatch.setattr(demo, "STEPS", 4)
    code, out, _ = fcis("demo", "--out", tmp_path / "demo", "--device", "cpu")
    assert (code, asked) == (0, ["scenes"])
    folder = tmp_path / "demo"
    assert json.loads((folder / "figures.json").read_text())["images"] == 3
    assert isinstance(json.loads((folder / "predictions.json").read_text()), list)
    pictures = sorted(p.name for p in (folder / "overlays").iterdir())
    assert pictures == [f"scene-2-{i:06d}.overlay.png" for i in range(3)] + ["sheet.png"]
    Image.open(folder / "overlays" / "sheet.png").load()
    for text in ("mask AP50 on 3 held-out scenes: ", f"--weights {folder / 'run'}"):
        assert text in out


def test_train_and_held_out_scenes_differ():
    from fcis.data.source import check_distinct

    check_distinct(demo.TRAIN, demo.HELD_OUT)


def test_unwritable_out(refused, tmp_path):
    (tmp_path / "file").write_text("")
    error = refused("demo", "--out", tmp_path / "file" / "demo")
    assert "the folder cannot be made (Not a directory); choose another --out" in error
