"""A backbone that begins with ImageNet weights."""

from dataclasses import replace

import pytest
import timm
import torch

from fcis.core.errors import InputError
from fcis.model import imagenet as module
from fcis.model.backbones import build_backbone
from fcis.recipe.types import BackboneRecipe

RESNET18 = BackboneRecipe(
    depths=(2, 2, 2, 2), block="basic", variant="modern", pretrained="resnet18.tv_in1k"
)


@pytest.fixture
def imagenet(monkeypatch):
    """A local network in place of the download; the names asked for."""
    torch.manual_seed(3)
    model = timm.create_model("resnet18")
    asked = []

    def create_model(name, pretrained):
        asked.append((name, pretrained))
        return model

    monkeypatch.setattr(module.timm, "create_model", create_model)
    return model, asked


def test_pretrained_weights_are_loaded(imagenet):
    model, asked = imagenet
    backbone = build_backbone(RESNET18)
    assert asked == [("resnet18.tv_in1k", True)]
    source = model.state_dict()
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, source[key]), key
    assert not backbone.conv1.weight.requires_grad


def test_pretrained_weights_of_other_channels(imagenet):
    model, _ = imagenet
    stem = model.conv1.weight
    grey = build_backbone(replace(RESNET18, in_channels=1)).conv1.weight
    torch.testing.assert_close(grey, stem.sum(dim=1, keepdim=True))
    five = build_backbone(replace(RESNET18, in_channels=5, norm="batch")).conv1.weight
    torch.testing.assert_close(five, stem[:, [0, 1, 2, 0, 1]] * 3 / 5)


def test_fetch_off(imagenet):
    build_backbone(RESNET18, fetch=False)
    assert imagenet[1] == []


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"depths": (2, 2, 2, 1)}, "layer4.1.bn1.bias"),
        ({"widths": (64, 128, 256, 128)}, "layer4.0.bn1.bias"),
        ({"norm": "group"}, "bn1.running_mean"),
    ],
)
def test_pretrained_weights_that_do_not_fit(imagenet, changes, first):
    message = f"'resnet18.tv_in1k' does not fit the recipe: .* differ, {first} is one; name"
    with pytest.raises(InputError, match=message):
        build_backbone(replace(RESNET18, **changes))


@pytest.mark.parametrize("kind", [FileNotFoundError, ConnectionError, RuntimeError])
def test_pretrained_weights_that_cannot_be_had(monkeypatch, kind):
    def create_model(name, pretrained):
        raise kind("no route to the hub\nsecond line")

    monkeypatch.setattr(module.timm, "create_model", create_model)
    message = (
        r"^backbone.pretrained: cannot get the ImageNet weights 'resnet18.tv_in1k' "
        r"\(no route to the hub\); check the connection and the name [^\n]*$"
    )
    with pytest.raises(InputError, match=message):
        build_backbone(RESNET18)


def test_name_that_timm_does_not_know():
    message = r"cannot get the ImageNet weights 'resnet17' \(Unknown model \(resnet17\)\)"
    with pytest.raises(InputError, match=message):
        build_backbone(replace(RESNET18, pretrained="resnet17"))
