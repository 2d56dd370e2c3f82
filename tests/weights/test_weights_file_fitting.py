"""Weights that fit a model as a whole, in part or not at all, and backbones alone."""

import re
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from fcis.core.errors import InputError
from fcis.inference.preprocess import with_channels
from fcis.model.build import build_model
from fcis.recipe.named import named_recipe
from fcis.weights.weights_file import (
    WeightsInfo,
    load_weights,
    load_what_fits,
    read_arrays,
    read_info,
    save_weights,
)

from .comparison import same_arrays

# what does not fit


def rewritten(path, arrays):
    """The file with other arrays and the description it had."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(arrays, path, metadata=metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"w\.safetensors: does not fit the model \(head\.boxes\.bias is missing\)"),
        ("extra", r"does not fit the model \(surplus is not part of it\); is the file complete\?"),
        ("shape", r"\(rpn\.conv\.bias is \(3,\) instead of \(16,\)\)"),
    ],
)
def test_every_array_is_accounted_for(saved_path, saved_model, change, message):
    arrays = read_arrays(saved_path)
    if change == "missing":
        del arrays["head.boxes.bias"]
    elif change == "extra":
        arrays["surplus"] = torch.zeros(1)
    else:
        arrays["rpn.conv.bias"] = torch.zeros(3)
    rewritten(saved_path, arrays)
    before = {k: v.clone() for k, v in saved_model.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_weights(saved_path, saved_model)
    assert all(torch.equal(v, saved_model.state_dict()[k]) for k, v in before.items())


def test_what_fits_is_loaded_and_the_rest_is_told(saved_path, saved_info):
    recipe = replace(saved_info.model, class_names=("a", "c"))
    other, before = build_model(recipe, seed=2), build_model(recipe, seed=2)
    new = load_what_fits(saved_path, other, recipe.class_names)
    assert new == ["head.classes.bias", "head.classes.weight"]
    assert torch.equal(other.head.classes.weight, before.head.classes.weight)
    assert not torch.equal(other.head.boxes.weight, before.head.boxes.weight)
    equal = build_model(saved_info.model, seed=2)
    assert load_what_fits(saved_path, equal, saved_info.model.class_names) == []
    wider = replace(saved_info.model, rpn=replace(saved_info.model.rpn, channels=17))
    new = load_what_fits(saved_path, build_model(wider), wider.class_names)
    assert new == [
        "rpn.conv.bias", "rpn.conv.weight", "rpn.deltas.weight", "rpn.scores.weight"
    ]  # fmt: skip


def test_nothing_that_fits(saved_path, saved_model):
    rewritten(saved_path, {"surplus": torch.zeros(1)})
    with pytest.raises(InputError, match=r"w\.safetensors: no array fits this recipe; choose the"):
        load_what_fits(saved_path, saved_model, ("a",))


# backbones alone


def saved_backbone(path, model, recipe):
    """A file with the backbone of a model, as `fcis convert` makes one."""
    info = WeightsInfo(model=replace(recipe, class_names=(), category_ids=()), recipe="backbone")
    save_weights(path, nn.ModuleDict({"backbone": model.backbone}), info)
    assert read_info(path).is_backbone
    return path


def test_a_backbone_alone(tmp_path, saved_model, saved_info):
    path = saved_backbone(tmp_path / "b.safetensors", saved_model, saved_info.model)
    other = build_model(saved_info.model, seed=2)
    new = load_what_fits(path, other, saved_info.model.class_names)
    assert new and all(name.startswith(("rpn.", "head.")) for name in new)
    assert same_arrays(saved_model.backbone, other.backbone) and not same_arrays(saved_model, other)
    assert not read_info(path).thresholds and not saved_info.is_backbone


def test_the_first_layer_takes_the_recipe_s_input(tmp_path, saved_info):
    trained = replace(
        saved_info.model.preprocessing, mean=(90.0, 100.0, 110.0), std=(50.0, 40.0, 60.0)
    )
    recipe = replace(saved_info.model, preprocessing=trained)
    model = build_model(recipe, seed=1).eval()
    path = saved_backbone(tmp_path / "b.safetensors", model, recipe)
    other = build_model(saved_info.model, seed=2).eval()
    load_what_fits(path, other, saved_info.model.class_names)
    levels = torch.rand(1, 3, 64, 64) * 255
    both = []
    for network, seen in ((model, trained), (other, saved_info.model.preprocessing)):
        pixels = (levels - torch.tensor(seen.mean)[:, None, None]) / torch.tensor(seen.std)[
            :, None, None
        ]
        with torch.inference_mode():
            # the border sees padding, which is zero in both
            both.append(network.backbone.bn1(network.backbone.conv1(pixels))[..., 2:-2, 2:-2])
    assert not torch.equal(model.backbone.conv1.weight, other.backbone.conv1.weight)
    torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"variant": "v1"},
            'b.safetensors: its backbone.variant is "modern", the recipe\'s is "v1"; add '
            "--set backbone.variant=modern or take other weights",
        ),
        (
            {"depths": (1, 1, 2, 1)},
            "its backbone.depths is [1, 1, 1, 1], the recipe's is [1, 1, 2, 1]; add "
            "--set backbone.depths=[1,1,1,1] or take other weights",
        ),
        ({"widths": (8, 12, 16, 25)}, "its backbone.widths is [8, 12, 16, 24], the recipe's"),
        ({"stem_width": 9}, "its backbone.stem_width is 8, the recipe's is 9; add --set backbone"),
        ({"block": "bottleneck"}, 'its backbone.block is "basic", the recipe\'s is "bottle'),
        ({"norm": "group"}, "has batch normalisation, the recipe's backbone.norm is group; add"),
    ],
)
def test_a_backbone_must_fit_as_a_whole(tmp_path, saved_model, saved_info, change, message):
    path = saved_backbone(tmp_path / "b.safetensors", saved_model, saved_info.model)
    backbone = replace(saved_info.model.backbone, **change)
    other = build_model(replace(saved_info.model, backbone=backbone))
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(InputError, match=re.escape(message)):
        load_what_fits(path, other, saved_info.model.class_names)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("alone", [True, False])
def test_weights_for_rgb_fit_any_number_of_channels(tmp_path, saved_info, count, alone):
    model = build_model(saved_info.model, seed=1).eval()
    path = tmp_path / "w.safetensors"
    if alone:
        saved_backbone(path, model, saved_info.model)
    else:
        save_weights(path, model, saved_info)
    recipe = replace(
        saved_info.model,
        backbone=replace(saved_info.model.backbone, in_channels=count),
        preprocessing=with_channels(saved_info.model.preprocessing, count),
    )
    other = build_model(recipe, seed=2).eval()
    new = load_what_fits(path, other, saved_info.model.class_names)
    assert all(name.startswith(("rpn.", "head.")) for name in new) and bool(new) == alone
    pixels = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        was = model.backbone.conv1(pixels.expand(1, 3, 64, 64))
        now = other.backbone.conv1(pixels.expand(1, count, 64, 64))
    if count == 1:
        torch.testing.assert_close(now, was, rtol=1e-4, atol=1e-4)
    # repeated channels keep the size of the output, if not its value
    assert 0.3 < float(now.std() / was.std()) < 3


def test_the_settings_of_the_message_make_it_fit(tmp_path, saved_info):
    from fcis.recipe.as_json import with_setting

    path = saved_backbone(
        tmp_path / "b.safetensors", build_model(saved_info.model), saved_info.model
    )
    odd = replace(saved_info.model.backbone, variant="v1", depths=(1, 2, 1, 1), stem_width=4)
    recipe = named_recipe("tiny")
    recipe = replace(recipe, model=replace(saved_info.model, backbone=odd))
    for _ in range(3):
        with pytest.raises(InputError) as error:
            load_what_fits(path, build_model(recipe.model), saved_info.model.class_names)
        setting = str(error.value).partition("--set ")[2].split(" ")[0]
        recipe = with_setting(recipe, *setting.split("="))
    load_what_fits(path, build_model(recipe.model), saved_info.model.class_names)


def test_whole_models_of_another_geometry(saved_path, saved_info):
    other = build_model(
        replace(saved_info.model, backbone=replace(saved_info.model.backbone, variant="v1"))
    )
    with pytest.raises(
        InputError, match=r"w\.safetensors: its backbone\.variant is \"modern\", the"
    ):
        load_what_fits(saved_path, other, saved_info.model.class_names)
