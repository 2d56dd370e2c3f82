"""Scripts of benchmarks/ and tools/ that are long to run by hand, on a few small images."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fcis.data.formats.coco import read_coco
from fcis.data.formats.write_coco import write_coco
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.lab.benchmark.timing import Method
from fcis.recipe.named import named_recipe
from fcis.recipe.reading import read_recipe, with_settings
from fcis.training.loader import training_loader

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = (ROOT / "benchmarks", ROOT / "tools")
SIZE = (72, 80)
FEW = ["--batch", "2", "--crop", "64", "--rois", "8", "--detections", "20", "--workers", "0"]


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
    for folder in FOLDERS:
        monkeypatch.syspath_prepend(str(folder))

    def load(name):
        import_module("records").RESULTS = tmp_path
        return import_module(name)

    yield load
    own = {path.stem for folder in FOLDERS for path in folder.glob("*.py")}
    for name in (set(sys.modules) - before) & own:
        del sys.modules[name]


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, arguments)])
    module.main()


def lines(folder, name):
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_mask_rcnn_is_trained_interrupted_resumed_and_judged(script, images, tmp_path, monkeypatch):
    module = script("maskrcnn_nuclei")
    out = tmp_path / "run"
    arguments = [images, "--out", out, "--steps", 20, "--val-images", 1, "--checkpoint-every", 8]
    make_step, losses = module.make_step, []

    def interrupted(*given):
        if len(losses) == 10:
            raise KeyboardInterrupt
        losses.append(make_step(*given))
        return losses[-1]

    monkeypatch.setattr(module, "make_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(module, monkeypatch, *arguments, *FEW)
    repeated = []
    monkeypatch.setattr(
        module, "make_step", lambda *given: repeated.append(make_step(*given)) or repeated[-1]
    )
    run(module, monkeypatch, *arguments, *FEW)
    # steps 9 and 10 again, to the bit, then the rest
    assert len(repeated) == 12 and repeated[:2] == losses[8:]
    assert np.mean(repeated[-4:]) < np.mean(losses[:4])
    (line,) = lines(tmp_path, "maskrcnn-nuclei")
    assert (line["steps"], line["seed"], line["images"]) == (20, 0, 1)
    assert line["epochs"] == pytest.approx(20 * 2 / 3, abs=0.01)
    assert set(line["dsb"]) >= {"0.50", "0.90"} and 0 <= line["segm"]["AP50"] <= 1
    assert line["seconds_per_image"] > 0 and line["parameters"] > 40e6
    with pytest.raises(SystemExit, match=r"last.pt: is of a run with .*'seed': 0.* another --out"):
        run(module, monkeypatch, *arguments, *FEW, "--seed", 1)


@pytest.mark.slow
def test_mask_rcnn_gets_the_objects_and_gives_them_back(script, images, monkeypatch):
    module, network = script("maskrcnn_nuclei"), script("maskrcnn")
    dataset = read_coco(images / "train.json")
    monkeypatch.setattr(sys, "argv", ["", str(images), *FEW])
    recipe = module.recipe_of(module.parse(), dataset, steps=1)
    (batch,) = next(iter(training_loader(dataset, recipe, 0)))
    pixels, targets = network.torchvision_form(batch)
    assert [p.shape for p in pixels] == [(3, 64, 64)] * 2
    for target, truth in zip(targets, batch.truths, strict=True):
        assert torch.equal(target["boxes"], truth.boxes)
        assert torch.equal(target["labels"], truth.labels)
        for mask, placed, box in zip(target["masks"], truth.masks, truth.boxes, strict=True):
            assert mask.sum() == (placed.values >= 0.5).sum() > 0
            rows, columns = mask.nonzero(as_tuple=True)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (box - torch.tensor(tight)).abs().max() <= 1.5
    model = network.build_maskrcnn(recipe.model, seed=0, rois=8)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert sum(isinstance(m, nn.GroupNorm) for m in model.modules()) == 53 + 8 + 4 + 4
    give_back_the_truth(model, targets[0])
    plan = replace(batch_plan(batch), factors=(2.0, 2.0))
    names = recipe.model.class_names
    found = network.detect(model.eval(), pixels[0], plan, (32, 32), names)
    assert found.labels.tolist() == targets[0]["labels"].tolist()
    for crop, mask in zip(found.crops, targets[0]["masks"].numpy(), strict=True):
        halved = mask.reshape(32, 2, 32, 2).mean(axis=(1, 3))
        whole = np.zeros((32, 32), dtype=bool)
        rows, columns = crop.bits.shape
        whole[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.bits
        union = (whole | (halved >= 0.5)).sum()
        assert (whole & (halved >= 0.5)).sum() > 0.6 * union


def batch_plan(batch):
    from fcis.inference.preprocess import Resize

    height, width = batch.images.sizes[0].tolist()
    return Resize(size=(height, width), factors=(1.0, 1.0))


def give_back_the_truth(model, target):
    """Let the heads of a network find exactly what is annotated."""
    from torchvision.ops import roi_align

    boxes, masks = target["boxes"], target["masks"].float()
    index = torch.arange(len(boxes), dtype=torch.float32)[:, None]
    grids = roi_align(masks[:, None], torch.cat([index, boxes], dim=1), (28, 28), aligned=True)
    result = {
        "boxes": boxes,
        "labels": target["labels"],
        "scores": torch.linspace(0.9, 0.5, len(boxes)),
        "masks": grids,
    }
    model.roi_heads.forward = lambda *_: ([result], {})


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


@pytest.mark.slow
def test_rows_of_the_ablation_are_trained_or_looked_at_once(
    script, images, tiny_weights, tmp_path, monkeypatch
):
    """Three rows, with a network of a few weights; asked for again, none is done again."""
    module = script("nuclei_ablation")
    monkeypatch.setattr(module, "named_recipe", lambda name: named_recipe("tiny"))
    rows = ["the recipe", "64 RoIs", "one pass"]
    arguments = [images, *rows, "--out", tmp_path / "runs", "--steps", 2, "--weights", tiny_weights]
    run(module, monkeypatch, *arguments)
    whole, fewer, once = lines(tmp_path, "nuclei-ablation")
    assert [line["row"] for line in (whole, fewer, once)] == [
        "the recipe",
        "64 RoIs an image",
        "one pass",
    ]
    assert "minutes" in whole and "minutes" in fewer and "minutes" not in once
    assert whole["environment"]["processor"] and whole["environment"]["date"]
    run(module, monkeypatch, *arguments)
    assert len(lines(tmp_path, "nuclei-ablation")) == 3
    folder = module.folder_of(tmp_path / "runs", module.WHOLE, 2)
    told = ["--name", "zoo", "--minutes", 0.5, "--trained-on", "three scenes"]
    run(script("zoo_result"), monkeypatch, folder, "--data", images / "val.json", *told)
    (line,) = lines(tmp_path, "zoo")
    assert (line["steps"], line["seed"], line["val"]) == (2, 0, "val.json, 3 images")
    assert line["segm"]["AP"] >= 0 and set(line["dsb"]) >= {"0.50", "0.90"}
    assert list(line["by_step"]) == ["2"] and len(line["by_step"]["2"]) == 3
    assert line["by_step"]["2"][0] == pytest.approx(line["segm"]["AP"], abs=5e-4)


def test_tables_come_between_their_marks(script, tmp_path):
    """Those of record are what stands in the documentation; other marks keep what they have."""
    module = script("write_tables")
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- begin {m} -->\nold\n<!-- end {m} -->\nkept\n" for m in "ab"))
    module.put(page, {"b": r"new \1"})
    first, second = page.read_text().split("kept\n")[:2]
    assert "old" in first and second == "<!-- begin b -->\nnew \\1\n<!-- end b -->\n"
    lines = [json.loads(x) for x in (module.RESULTS / "nuclei-ablation.jsonl").open()]
    looked = [line for line in lines if line.get("weights")]
    names = list(script("nuclei_ablation").ROWS)
    assert module.of_ablation(looked, names) in (ROOT / "docs" / "nuclei.md").read_text()
    known = module.of_benchmark(module.RESULTS / "ops.json")
    assert known in (ROOT / "docs" / "benchmarks.md").read_text()


@pytest.mark.slow
def test_the_ladder_is_made_once(script, images, tmp_path, monkeypatch):
    module = script("table4")
    monkeypatch.setattr(module, "read_recipe", lambda name, given: read_recipe("tiny", given))
    monkeypatch.setattr("fcis.lab.reproduce.times.METHOD", Method(rounds=1, least_seconds=0.0))
    monkeypatch.setattr(module, "FURTHER", dict.fromkeys(module.FURTHER, ("stem_width=4",)))
    for _ in range(2):
        run(module, monkeypatch, images, "--out", tmp_path / "runs", "--steps", 1)
    (line,) = lines(tmp_path, "table4")
    assert (line["table"], line["steps"], line["roi_side"]) == ("table4", 1, 45.0)
    assert [row["label"] for row in line["rows"]][-1] == "+ ensemble of 3"
    assert {"AP75", "dsb@0.50"} <= set(line["rows"][0]["figures"])
    assert (tmp_path / "runs" / "table.md").is_file()


@pytest.mark.slow
def test_random_and_hard_examples_are_compared_once(script, images, tmp_path, monkeypatch):
    module = script("ohem_nuclei")
    monkeypatch.setattr(module, "read_recipe", lambda name, given: read_recipe("tiny", given))
    monkeypatch.setattr(module, "SEEDS", (0,))
    for _ in range(2):
        run(module, monkeypatch, images, "--out", tmp_path / "runs", "--steps", 1)
    found = lines(tmp_path, "ohem-nuclei")
    assert [line["ohem"] for line in found] == [False, True]
    assert all(line["segm"]["AP"] >= 0 and line["minutes"] > 0 for line in found)
    recipes = [json.loads(p.read_text()) for p in sorted((tmp_path / "runs").rglob("recipe.json"))]
    assert [recipe["training"]["targets"]["ohem"] for recipe in recipes] == [True, False]


def test_each_row_of_the_ablation_differs_from_the_recipe(script):
    module = script("nuclei_ablation")
    whole = module.recipe(module.WHOLE, 10)
    for row, settings in module.ROWS.items():
        if row in (module.WHOLE, module.AS_IT_IS):
            continue
        assert with_settings(whole, settings) != whole, row
        assert (module.recipe(row, 10) != whole) == (row in module.TRAINED)
    assert len(module.ROWS) == len(module.TRAINED) + len(module.LOOKED)
