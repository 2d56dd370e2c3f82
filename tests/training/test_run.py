import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.data.formats.coco import read_coco
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.inference.predictor import load_predictor
from fcis.recipe.as_json import from_json, to_json
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Augmentation, Recipe
from fcis.training import run
from fcis.training.callbacks import Progress
from fcis.training.ema import AVERAGE
from fcis.training.run import for_dataset, train
from fcis.training.validating import Judge
from fcis.weights.weights_file import read_info, save_weights

from .conftest import dataset_of


@pytest.fixture(scope="module")
def small_set():
    """Scenes that a step takes a fraction of a second for."""
    return scene_dataset(5, 1, size=(96, 96))


@pytest.fixture(scope="module")
def small_val():
    return scene_dataset(2, 2, size=(96, 96))


def with_training(recipe, **changes):
    return replace(recipe, training=replace(recipe.training, **changes))


@pytest.fixture(scope="module")
def short(small_set):
    """Eight steps of two batches, with a validation and two checkpoints on the way."""
    return with_training(
        for_dataset(named_recipe("tiny"), small_set),
        steps=8,
        batch=1,
        accumulate=2,
        validate_every=5,
        checkpoint_every=3,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, short, small_set, small_val):
    """A run that was not stopped; its folder must stay as it is."""
    return train(short, small_set, small_val, tmp_path_factory.mktemp("runs") / "whole")


def rows_of(folder):
    """metrics.csv without what depends on the clock."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.pop("images_per_second")
    return rows


def assert_same_run(first, second):
    """Weights, optimiser, best weights and table of two runs are the same, to the bit."""
    best = (first / "best.safetensors").read_bytes()
    assert best == (second / "best.safetensors").read_bytes()
    one, two = (
        torch.load(f / "last.ckpt", map_location="cpu", weights_only=True) for f in (first, second)
    )
    assert one["global_step"] == two["global_step"]
    for states in ("state_dict", AVERAGE):
        assert one.get(states, {}).keys() == two.get(states, {}).keys()
        for name, value in one.get(states, {}).items():
            assert torch.equal(value, two[states][name]), name
    for a, b in zip(
        _tensors(one["optimizer_states"]), _tensors(two["optimizer_states"]), strict=True
    ):
        assert torch.equal(a, b)
    assert one["callbacks"] == two["callbacks"]
    assert one["lr_schedulers"] == two["lr_schedulers"]
    assert rows_of(first) == rows_of(second)


def _tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def stopping_at(monkeypatch, step, error):
    """Make the run end with an error after a step, before that step's checkpoint."""

    class Stopping(Progress):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == step:
                raise error

    monkeypatch.setattr(run, "Progress", Stopping)


class PowerCut(Exception):
    pass


@pytest.mark.parametrize("stops", [(2, 7), (3, 5), (6, 6)])
def test_a_resumed_run_is_the_run_that_was_never_stopped(
    tmp_path, monkeypatch, whole, short, small_set, small_val, stops
):
    folder = tmp_path / "torn"
    for step in stops:  # 2: before the first checkpoint; 6, twice: just before the second
        with monkeypatch.context() as patch:
            stopping_at(patch, step, PowerCut())
            with pytest.raises(PowerCut):
                train(short, small_set, small_val, folder, resume=True)
    resumed = train(short, small_set, small_val, folder, resume=True)
    assert_same_run(whole.folder, folder)
    assert (resumed.best, resumed.best_step) == (whole.best, whole.best_step)


SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from dataclasses import replace
import torch
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.recipe.types import Augmentation, Recipe
from fcis.recipe.as_json import from_json, to_json
from fcis.recipe.named import named_recipe
from fcis.training import run
from fcis.training.callbacks import Progress
from fcis.training.run import train
import fcis.training.callbacks, fcis.training.checkpoints, fcis.weights.weights_file

folder, recipe, where, count = sys.argv[1:]
folder, recipe, count = Path(folder), json.loads(recipe), int(count)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function, half):
    # the count-th call ends in the middle
    calls = [0]

    def call(*arguments, **options):
        calls[0] += 1
        if calls[0] == count:
            half(*arguments)
            die()
        return function(*arguments, **options)

    return call


if where == "checkpoint":
    torch.save = dying(torch.save, lambda _, file: (file.write(b"PK" * 1000), file.flush()))
elif where == "weights":
    fcis.weights.weights_file.write_synced = dying(
        fcis.weights.weights_file.write_synced, lambda path, _: path.write_bytes(b"half")
    )
elif where == "before the checkpoint":
    saved = fcis.training.checkpoints.Checkpoints.on_train_batch_end
    fcis.training.checkpoints.Checkpoints.on_train_batch_end = dying(saved, lambda *_: None)
elif where == "table":
    os.replace = dying(os.replace, lambda *_: None)
elif where == "step":
    stepped = fcis.training.callbacks.Metrics.on_train_batch_end
    fcis.training.callbacks.Metrics.on_train_batch_end = dying(stepped, lambda *_: None)

train(
    from_json(Recipe, recipe, "recipe"),
    scene_dataset(12, 1),
    scene_dataset(2, 2),
    folder,
    resume=True,
)
"""


def start(folder, recipe, where="", count=0):
    text = json.dumps(to_json(recipe))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), text, where, str(count)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process, expected):
    _, errors = process.communicate(timeout=600)
    assert process.returncode == expected, errors[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "more"), [(0, {}), (1, {"ema": 0.9, "validation_loss": True, "patience": 9})]
)
def test_a_run_survives_being_killed_anywhere(tmp_path, tiny, workers, more):
    recipe = with_training(
        tiny, steps=24, accumulate=2, workers=workers, validate_every=10, checkpoint_every=4, **more
    )
    finish(start(tmp_path / "whole", recipe), 0)
    torn = tmp_path / "torn"
    for where, count in (
        ("step", 2),  # before the first checkpoint
        ("checkpoint", 1),  # in the middle of the first one
        ("checkpoint", 2),  # in the middle of one that replaces another
        ("weights", 1),  # in the middle of the best weights
        ("before the checkpoint", 6),  # after a validation
        ("table", 2),  # while the table is cut back
        ("step", 3),
    ):
        finish(start(torn, recipe, where, count), -signal.SIGKILL)
    finish(start(torn, recipe), 0)
    assert_same_run(tmp_path / "whole", torn)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "more"), [(0, {"ema": 0.9}), (1, {"validation_loss": True, "accumulate": 2})]
)
def test_a_run_survives_thirty_kills_at_random_moments(tmp_path, tiny, workers, more):
    recipe = with_training(
        tiny, steps=40, workers=workers, validate_every=10, checkpoint_every=3, **more
    )
    text = json.dumps(to_json(recipe))
    found = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killing.py")), tmp_path, text, "30", "1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    result = json.loads(found.stdout.splitlines()[-1])
    assert result["kills"] == 30
    for torn in result["runs"]:
        assert_same_run(tmp_path / "whole", Path(torn))


def test_what_a_run_leaves(whole, short, small_set):
    result, folder = whole, whole.folder
    names = {
        "best.safetensors",
        "last.ckpt",
        "recipe.json",
        "metrics.csv",
        "tensorboard",
        "curves.png",
        "pictures",
    }
    assert set(os.listdir(folder)) == names
    recipe = from_json(Recipe, json.loads((folder / "recipe.json").read_text()), "recipe")
    assert recipe == short
    info = read_info(folder / "best.safetensors")
    assert info.model == short.model and info.recipe == "tiny"
    assert len(info.thresholds) == 8 and all(0 <= t <= 1 for t in info.thresholds)
    assert dict(info.metrics).keys() == {"AP", "AP50", "AP75", "dsb@0.50"}
    assert dict(info.metrics)["AP"] == result.best
    sheets = sorted(os.listdir(folder / "pictures"))
    assert sheets == ["step-000005.png", "step-000008.png"]
    assert (result.recipe, result.steps, result.images) == (short, 8, 16)
    assert not result.stopped_early
    objects = sum(len(r.annotations) for r in small_set.images)
    assert info.training_data == f"scenes:5:1: 5 images, {objects} objects"
    assert result.seconds > 0 and result.new_arrays == ()
    rows = rows_of(folder)
    assert [(r["step"], bool(r["loss"]), bool(r["val_AP"])) for r in rows] == [
        ("5", False, True), ("8", True, False), ("8", False, True)
    ]  # fmt: skip
    assert result.best_step in (5, 8)


def test_the_best_file_alone_is_enough_to_predict(tmp_path, short, small_set, small_val):
    train(with_training(short, steps=2), small_set, small_val, tmp_path / "run")
    alone = tmp_path / "elsewhere.safetensors"
    (tmp_path / "run" / "best.safetensors").rename(alone)
    predictor = load_predictor(alone, fold=False)
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in predictor.model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[f"model.{name}"]), name
    (found,) = predictor.detect([small_val.images[0].read()])
    assert found.class_names[1:] == short.model.class_names


def test_a_finished_run_resumed_changes_nothing(whole, short, small_set, small_val):
    before = {p: p.read_bytes() for p in whole.folder.iterdir() if p.is_file()}
    again = train(short, small_set, small_val, whole.folder, resume=True)
    assert (again.best, again.best_step) == (whole.best, whole.best_step)
    assert (again.images, again.steps, again.stopped_early) == (0, 8, False)
    assert {p: p.read_bytes() for p in whole.folder.iterdir() if p.is_file()} == before


def test_the_same_seed_gives_the_same_run_and_workers_change_nothing(
    tmp_path, whole, short, small_set, small_val
):
    train(with_training(short, workers=1), small_set, small_val, tmp_path / "again")
    assert_same_run(whole.folder, tmp_path / "again")
    train(with_training(short, seed=1), small_set, small_val, tmp_path / "other")
    first, other = (rows_of(f)[1] for f in (whole.folder, tmp_path / "other"))
    assert first["loss"] != other["loss"]


def test_a_used_folder_needs_resume(tmp_path, short, small_set, small_val):
    train(with_training(short, steps=1), small_set, small_val, tmp_path)
    with pytest.raises(InputError, match="holds a training run; go on with --resume"):
        train(with_training(short, steps=1), small_set, small_val, tmp_path)
    with pytest.raises(InputError, match=r"was begun with training\.steps = 1, not 8"):
        train(short, small_set, small_val, tmp_path, resume=True)
    (tmp_path / "last.ckpt").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"last\.ckpt: damaged; delete it to begin this run anew"):
        train(with_training(short, steps=1), small_set, small_val, tmp_path, resume=True)


@pytest.mark.parametrize("kind", ["recipe", "model", "weights", "data"])
def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path, short, small_set, small_val, kind):
    """Else a second try, with the mistake put right, would be refused."""
    folder, recipe, data, weights = tmp_path / "run", short, small_set, None
    if kind == "recipe":
        recipe = with_training(short, batch=-1)
    elif kind == "model":
        recipe = replace(short, model=replace(short.model, head=replace(short.model.head, k=0)))
    elif kind == "weights":
        weights = tmp_path / "missing.safetensors"
    else:
        data = replace(data, images=tuple(replace(r, annotations=()) for r in data.images))
    with pytest.raises(InputError):
        train(recipe, data, small_val, folder, weights=weights)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written(tmp_path, short, small_set, small_val):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot be written \(File exists\)"):
        train(short, small_set, small_val, tmp_path / "file")


def test_datasets_must_have_the_same_categories(tmp_path, short, small_set):
    with pytest.raises(InputError, match=r"painted: its categories .* make them equal"):
        train(short, small_set, dataset_of([]), tmp_path / "run")


def test_a_recipe_takes_the_categories_of_the_data(short, small_set):
    recipe = for_dataset(short, dataset_of([]))
    assert recipe.model.class_names == ("r", "g", "b")
    assert recipe.model.category_ids == (10, 20, 30)
    assert replace(recipe, model=short.model) == short
    with pytest.raises(InputError, match="nothing: has no categories; add them"):
        for_dataset(short, Dataset(name="nothing", categories=(), images=()))


@pytest.fixture
def trained(tmp_path, short, small_set, small_val):
    """Weights of a short run on eight categories."""
    train(with_training(short, steps=2), small_set, small_val, tmp_path / "first")
    return tmp_path / "first" / "best.safetensors"


def initial_state(monkeypatch, recipe, *arguments, **options):
    """The model that a run begins with, and the run's result without steps."""
    models = []
    monkeypatch.setattr(run, "_fit", lambda _, module, *__: models.append(module.model))
    result = train(recipe, *arguments, **options)
    return models[0].state_dict(), result


def test_weights_of_the_same_categories_are_taken_over_whole(
    tmp_path, monkeypatch, short, small_set, small_val, trained
):
    state, result = initial_state(
        monkeypatch,
        with_training(short, seed=9),
        small_set,
        small_val,
        tmp_path / "b",
        weights=trained,
    )
    assert result.new_arrays == ()
    for name, value in load_predictor(trained, fold=False).model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(state[name], value), name


def test_weights_of_other_categories_keep_all_that_fits(
    tmp_path, monkeypatch, short, small_set, small_val, trained
):
    def renamed(dataset):
        categories = tuple(replace(c, name=c.name.upper()) for c in dataset.categories)
        return replace(dataset, categories=categories)

    data, val = renamed(small_set), renamed(small_val)
    recipe = for_dataset(with_training(short, seed=9), data)
    state, result = initial_state(monkeypatch, recipe, data, val, tmp_path / "b", weights=trained)
    assert result.new_arrays == ("head.classes.bias", "head.classes.weight")
    for name, value in load_predictor(trained, fold=False).model.state_dict().items():
        if name == "head.classes.weight":
            assert not torch.equal(state[name], value)
        elif not name.endswith("num_batches_tracked") and name != "head.classes.bias":
            assert torch.equal(state[name], value), name


def test_weights_of_another_network_are_refused(tmp_path, short, small_set, small_val, trained):
    foreign = tmp_path / "foreign.safetensors"
    save_weights(foreign, torch.nn.Linear(3, 3), read_info(trained))
    with pytest.raises(InputError, match=r"foreign\.safetensors: no array fits this recipe"):
        train(short, small_set, small_val, tmp_path / "b", weights=foreign)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, short, small_set, small_val):
    wild = replace(short.training.optimiser, lr=1e30, warmup="none", clip_norm=0.0)
    message = r"scene-1-0000\d\d\.png: the loss \w+ is not finite in step \d; look at this image"
    with pytest.raises(InputError, match=message):
        train(with_training(short, optimiser=wild), small_set, small_val, tmp_path / "run")


def test_interrupting_is_interrupting(tmp_path, monkeypatch, short, small_set, small_val):
    """Lightning alone would end the process with exit code 1 and ignore further interrupts."""
    stopping_at(monkeypatch, 4, KeyboardInterrupt())
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(short, small_set, small_val, tmp_path / "run")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named_in_one_line(tmp_path, tiny, workers):
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)).save(images / "good.png")
    (images / "bad.png").write_bytes(b"no picture")
    square = [[10, 10, 40, 10, 40, 40, 10, 40]]
    annotation = {"category_id": 1, "bbox": [10, 10, 30, 30], "segmentation": square, "area": 900}
    data = {
        "images": [
            {"id": i, "file_name": f"{n}.png", "height": 64, "width": 64}
            for i, n in enumerate(("good", "bad"))
        ],
        "annotations": [annotation | {"id": i + 1, "image_id": i, "iscrowd": 0} for i in (0, 1)],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    dataset = read_coco(tmp_path / "data.json")
    recipe = with_training(for_dataset(tiny, dataset), workers=workers)
    with pytest.raises(InputError) as caught:
        train(recipe, dataset, dataset, tmp_path / "run")
    assert "bad.png" in str(caught.value)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


@pytest.fixture(scope="module")
def watched(short):
    """The short run with all that may be looked at; every second validation is no better."""
    return with_training(
        short, ema=0.9, metric="loss", patience=3, validation_loss=True, validate_every=2
    )


@pytest.mark.slow
def test_a_resumed_run_with_averaged_weights_is_the_run_that_was_never_stopped(
    tmp_path, monkeypatch, watched, short, small_set, small_val
):
    result = train(watched, small_set, small_val, tmp_path / "whole")
    for step in (2, 4, 7):  # 4: after a validation, before a checkpoint
        with monkeypatch.context() as patch:
            stopping_at(patch, step, PowerCut())
            with pytest.raises(PowerCut):
                train(watched, small_set, small_val, tmp_path / "torn", resume=True)
    resumed = train(watched, small_set, small_val, tmp_path / "torn", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "torn")
    assert (resumed.best, resumed.best_step) == (result.best, result.best_step)
    state = torch.load(tmp_path / "whole" / "last.ckpt", weights_only=True)
    plain = train(short, small_set, small_val, tmp_path / "plain")
    other = torch.load(plain.folder / "last.ckpt", weights_only=True)
    assert AVERAGE not in other
    differs = 0
    for name, value in other["state_dict"].items():  # being watched changes nothing
        assert torch.equal(state["state_dict"][name], value), name
        differs += not torch.equal(state[AVERAGE][name.removeprefix("model.")], value)
    assert differs > 20
    rows = [r for r in rows_of(tmp_path / "whole") if r["val_loss"]]
    assert [r["step"] for r in rows] == ["2", "4", "6", "8"]
    assert min(float(r["val_loss"]) for r in rows) == pytest.approx(result.best, rel=1e-5)


def test_the_averaged_weights_are_validated_and_kept(tmp_path, short, small_set, small_val):
    recipe = with_training(short, steps=2, ema=0.9)
    train(recipe, small_set, small_val, tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    best = load_predictor(tmp_path / "best.safetensors", fold=False).model.state_dict()
    latest = 0
    for name, value in best.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[AVERAGE][name]), name
            latest += torch.equal(value, state["state_dict"][f"model.{name}"])
    assert latest < len(best) / 2


def without_progress(monkeypatch):
    """Make all validations find the same figures."""
    validate = Judge.validate

    def same(self):
        return dict.fromkeys(validate(self), 0.25)

    monkeypatch.setattr(Judge, "validate", same)


def test_a_run_that_stopped_early_does_not_go_on_by_itself(
    tmp_path, monkeypatch, short, small_set, small_val
):
    recipe = with_training(short, patience=2, validate_every=1)
    with monkeypatch.context() as patch:
        without_progress(patch)
        result = train(recipe, small_set, small_val, tmp_path / "run")
        assert result.stopped_early and (result.steps, result.images) == (3, 6)
        assert (result.best, result.best_step) == (0.25, 1)
        before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
        again = train(recipe, small_set, small_val, tmp_path / "run", resume=True)
        assert again.stopped_early and (again.steps, again.images) == (3, 0)
        assert (again.best, again.best_step) == (0.25, 1)
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()} == before
    rows = rows_of(tmp_path / "run")
    assert [(r["step"], bool(r["loss"])) for r in rows][-2:] == [("3", True), ("3", False)]


@pytest.mark.slow
def test_a_run_that_stopped_early_can_be_told_to_go_on(
    tmp_path, monkeypatch, short, small_set, small_val
):
    """It ends with the weights of a run that was never stopped."""
    recipe = with_training(short, patience=1, validate_every=2)
    with monkeypatch.context() as patch:
        without_progress(patch)
        train(recipe, small_set, small_val, tmp_path / "run")
    patient = with_training(recipe, patience=0)
    gone_on = train(patient, small_set, small_val, tmp_path / "run", resume=True)
    assert (gone_on.steps, gone_on.stopped_early) == (8, False)
    whole = train(patient, small_set, small_val, tmp_path / "whole")
    one, two = (
        torch.load(f / "last.ckpt", weights_only=True)["state_dict"]
        for f in (gone_on.folder, whole.folder)
    )
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_loss_needs_objects_to_validate_on(tmp_path, short, small_set, small_val):
    empty = replace(small_val, images=tuple(replace(r, annotations=()) for r in small_val.images))
    for recipe in (with_training(short, metric="loss"), with_training(short, validation_loss=True)):
        with pytest.raises(InputError, match="no image has an object, so it has no loss"):
            train(recipe, small_set, empty, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_open_batch_is_found_once(tmp_path, monkeypatch, capsys, short, small_set, small_val):
    recipe = with_training(short, batch=0, accumulate=1, steps=3, checkpoint_every=1)
    stopping_at(monkeypatch, 2, PowerCut())
    with pytest.raises(PowerCut):
        train(recipe, small_set, small_val, tmp_path)
    assert capsys.readouterr().out.startswith("batch: 4 images at a time on cpu\n")
    written = json.loads((tmp_path / "recipe.json").read_text())
    assert written["training"]["batch"] == 4
    monkeypatch.undo()
    monkeypatch.setattr(run, "with_batch", None)  # a second try could find another
    result = train(recipe, small_set, small_val, tmp_path, resume=True)
    assert (result.recipe.training.batch, result.images) == (4, 8)
    assert json.loads((tmp_path / "recipe.json").read_text()) == written
    train(with_training(recipe, batch=4), small_set, small_val, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("batch", "remedy"),
    [
        (1, "begin again in another --out with smaller images (--set short_side="),
        (4, "begin again in another --out with --set batch=2 --set accumulate=4, batch=0, which"),
        (5, "--set batch=2 --set accumulate=6, "),
    ],
)
def test_too_little_memory_is_said_in_one_line(
    tmp_path, monkeypatch, short, small_set, small_val, batch, remedy
):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")
    stopping_at(monkeypatch, 3, error)
    with pytest.raises(InputError) as caught:
        train(with_training(short, batch=batch), small_set, small_val, tmp_path)
    message = f"device cpu: too little memory for {batch} image(s) at once in step 4; "
    assert str(caught.value).startswith(message) and remedy in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_four_scenes_can_be_learnt_by_heart(tmp_path, small_set):
    """Detections, categories and masks of the training images, found again."""
    data = Dataset(name="four", categories=small_set.categories, images=small_set.images[:4])
    base = for_dataset(named_recipe("scenes"), data)
    recipe = with_training(
        base,
        steps=250,
        workers=0,
        augmentation=Augmentation(flip=0.0),
        optimiser=replace(base.training.optimiser, warmup_steps=20),
    )
    train(recipe, data, data, tmp_path / "run")
    metrics = dict(read_info(tmp_path / "run" / "best.safetensors").metrics)
    assert metrics["AP50"] > 0.9, metrics
    assert metrics["AP"] > 0.6, metrics
