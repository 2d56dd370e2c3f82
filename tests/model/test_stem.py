from dataclasses import replace

import pytest
import torch

from fcis.model.backbones import build_backbone
from fcis.model.stem import adapt_stem
from fcis.recipe.types import BackboneRecipe, Preprocessing

SLIM = BackboneRecipe(
    depths=(1, 1, 1, 1), widths=(8, 8, 8, 8), block="basic", stem_width=8, frozen_stages=0
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_levels_give_what_the_trained_input_gave():
    torch.manual_seed(0)
    backbone = build_backbone(SLIM)
    backbone.bn1.running_mean.uniform_(-1, 1)
    levels = torch.randint(0, 256, (1, 3, 40, 40)).float()
    trained = (levels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    expected = backbone.bn1(backbone.conv1(trained))
    preprocessing = Preprocessing()
    adapt_stem(backbone, preprocessing, MEAN, STD)
    fed = levels - torch.tensor(preprocessing.mean)[:, None, None]
    found = backbone.bn1(backbone.conv1(fed))
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(found[inner], expected[inner], rtol=1e-4, atol=1e-4)


def test_equal_preprocessing_changes_nothing():
    backbone = build_backbone(SLIM)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    same = replace(
        Preprocessing(),
        mean=tuple(255 * m for m in MEAN),
        std=tuple(255 * s for s in STD),
    )
    adapt_stem(backbone, same, MEAN, STD)
    for key, value in backbone.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_other_channels_have_the_mean_of_the_trained_means(count):
    """A grey image gives what it gave, if the weights of the channels were spread."""
    torch.manual_seed(0)
    backbone = build_backbone(replace(SLIM, in_channels=count))
    weight = torch.randn(8, 3, 7, 7)
    with torch.no_grad():
        backbone.conv1.weight.copy_(weight.sum(dim=1, keepdim=True) / count)
    levels = torch.randint(0, 256, (1, 1, 40, 40)).float()
    mean, std = sum(MEAN) / 3, sum(STD) / 3
    trained = ((levels / 255 - mean) / std).expand(1, 3, 40, 40)
    expected = backbone.bn1(torch.nn.functional.conv2d(trained, weight, stride=2, padding=3))
    own = Preprocessing(mean=(90.0,) * count, std=(40.0,) * count)
    adapt_stem(backbone, own, MEAN, STD)
    fed = ((levels - 90) / 40).expand(1, count, 40, 40)
    found = backbone.bn1(backbone.conv1(fed))
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(found[inner], expected[inner], rtol=1e-3, atol=1e-3)
