"""What holds for every system of the paper's Table 1: one interface, one set of commands."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from fcis.cli.main import main
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.inference.predictor import load_predictor
from fcis.inference.preprocess import collate, prepare
from fcis.model.baselines.instfcn_rfcn import InstFCNRFCN
from fcis.model.build import build_model
from fcis.recipe.baselines import TABLE1
from fcis.recipe.conventions import with_conventions
from fcis.structures import INSIDE
from fcis.training.batch import collate_samples
from fcis.training.losses import compute_losses
from fcis.training.run import BEST
from fcis.training.samples import TrainingSamples
from fcis.training.systems import losses_of
from fcis.weights.weights_file import WeightsInfo, load_what_fits, save_weights

SYSTEMS = {"fcis": lambda base: base, **TABLE1}
every_system = pytest.mark.parametrize("name", SYSTEMS)


def small(base):
    """A recipe whose networks are independent of the batch, and whose pyramid is short."""
    model = base.model
    return replace(
        base,
        model=replace(
            model,
            backbone=replace(model.backbone, norm="group"),
            instfcn=replace(model.instfcn, pyramid=(0.7, 1.1), candidates=60),
        ),
    )


@pytest.fixture
def recipe_of(tiny):
    return lambda name: small(SYSTEMS[name](tiny))


def same(one, two):
    assert one.labels.tolist() == two.labels.tolist()
    torch.testing.assert_close(
        torch.tensor(one.scores), torch.tensor(two.scores), rtol=1e-4, atol=1e-5
    )
    assert (one.masks != two.masks).mean() < 1e-3 if len(one) else True


@every_system
def test_every_parameter_has_a_gradient(recipe_of, scene_set, name):
    recipe = recipe_of(name)
    model, samples = build_model(recipe.model), TrainingSamples(scene_set, recipe)
    batch = collate_samples([samples[0]])
    losses = losses_of(model, batch, recipe)
    assert losses.first_bad(batch.names) is None and losses.total() > 0
    losses.total().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


def test_whose_losses_are_which(recipe_of, scene_set):
    for name in SYSTEMS:
        recipe = recipe_of(name)
        model = build_model(recipe.model)
        batch = collate_samples([TrainingSamples(scene_set, recipe)[0]])
        found = losses_of(model, batch, recipe).means()
        if isinstance(model, InstFCNRFCN):
            assert "window_mask" in found and "roi_mask" not in found
        else:
            assert found == compute_losses(model, batch, recipe).means()


@every_system
def test_detections_do_not_depend_on_the_batch(recipe_of, name):
    recipe = recipe_of(name).model
    model = build_model(recipe, seed=2).eval()
    images = [
        scene_dataset(1, n, size=s).images[0].read() for n, s in enumerate([(80, 96), (96, 64)])
    ]
    inputs = [prepare(i, recipe.preprocessing) for i in images]
    sizes = [i.shape[:2] for i in images]
    together = model.detect(collate(inputs, sizes))
    for found, one, size in zip(together, inputs, sizes, strict=True):
        same(found, model.detect(collate([one], [size]))[0])


@every_system
def test_weights_travel_through_a_file(recipe_of, scene_set, tmp_path, name):
    recipe = recipe_of(name).model
    model = build_model(recipe, seed=3).eval()
    path = tmp_path / "w.safetensors"
    save_weights(path, model, WeightsInfo(model=recipe))
    predictor = load_predictor(path)
    assert type(predictor.model) is type(model) and predictor.model.recipe == recipe
    image = scene_set.images[0].read()[:96, :96]
    plain = prepare(image, recipe.preprocessing)
    same(predictor.detect([image])[0], model.detect(collate([plain], [image.shape[:2]]))[0])


def test_weights_of_another_system_give_all_but_their_heads(recipe_of, tmp_path):
    path = tmp_path / "fcis.safetensors"
    fcis = build_model(recipe_of("fcis").model, seed=3)
    save_weights(path, fcis, WeightsInfo(model=fcis.recipe))
    for name in TABLE1:
        if name == "fcis-k1":
            continue
        model = build_model(recipe_of(name).model, seed=4)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        new = load_what_fits(path, model, model.recipe.class_names)
        state = model.state_dict()
        assert torch.equal(state["head.reduction.weight"], fcis.head.reduction.weight)
        for key, value in fcis.backbone.state_dict().items():
            assert torch.equal(state[f"backbone.{key}"], value)
            if name == "instfcn-rfcn":
                assert torch.equal(state[f"instfcn.backbone.{key}"], value)
        assert all(torch.equal(before[key], state[key]) for key in new)
        assert {"head.classes.weight", "head.boxes.weight"} <= set(new)
        assert not any("backbone" in key for key in new)


@pytest.mark.parametrize("sampling", ["native", "align", "pool"])
@pytest.mark.parametrize("slots", [1, 2])
def test_with_k_1_a_pixel_has_the_same_scores_in_every_roi(recipe_of, sampling, slots):
    """Paper 4.1: translation invariant. RoIs of whole cells, so that all modes read cells."""
    recipe = recipe_of("fcis-k1").model
    recipe = with_conventions(recipe, {"sampling": sampling, "box_slots": slots})
    head = replace(recipe.head, out_size=4)
    found = {}
    for k in (1, 2):
        own = replace(recipe, head=replace(head, k=k))
        model = build_model(own, seed=1).eval()
        assert model.head.boxes.out_channels == 4 * k * k * slots
        pixels = torch.rand((1, 3, 96, 96), generator=torch.Generator().manual_seed(0))
        features = model.backbone.extract(pixels)[1].permute(0, 2, 3, 1)
        assert features.shape[1:3] == (12, 12)
        levels = (pixels[0] * 255).byte().permute(1, 2, 0).numpy()
        batch = collate([prepare(levels, own.preprocessing)], [(96, 96)])
        _, maps = model(batch)
        boxes = torch.tensor([[0.0, 0, 32, 32], [16, 16, 48, 48]])  # 4 x 4 cells each
        index = torch.zeros(2, dtype=torch.int64)
        values = model.mask_rois(maps, boxes, index, index + 1).values[:, INSIDE]
        found[k] = values.unflatten(0, (2, 4, 4))
    torch.testing.assert_close(found[1][0, 2:, 2:], found[1][1, :2, :2])
    assert not torch.allclose(found[2][0, 2:, 2:], found[2][1, :2, :2])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcis-separate", "naive-mnc", "instfcn-rfcn"])
def test_the_same_commands_for_every_system(tmp_path, capsys, name):
    run = tmp_path / "run"
    settings = [f"system={name}", "steps=2", "validate_every=2", "checkpoint_every=1", "passes=1"]
    settings += ["crop=96", "instfcn.pyramid=[1.0]", "window_cells=8", "window_parts=4"]
    arguments = [part for text in settings for part in ("--set", text)]
    data = ["--train", "scenes:3:1", "--val", "scenes:1:2"]
    train_command = ["train", *data, "--recipe", "tiny", "--out", str(run), *arguments]
    assert main(train_command) == 0
    assert main([*train_command, "--resume"]) == 0
    weights = str(run / BEST)
    capsys.readouterr()
    assert main(["info", weights]) == 0
    assert name in capsys.readouterr().out
    assert main(["evaluate", "--data", "scenes:1:2", "--weights", weights]) == 0
    image = tmp_path / "scene.png"
    Image.fromarray(scene_dataset(1, 2).images[0].read()).save(image)
    out = str(tmp_path / "out")
    assert main(["predict", str(image), "--weights", weights, "--out", out]) == 0
