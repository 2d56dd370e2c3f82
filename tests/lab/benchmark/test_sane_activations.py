"""Statistics that fit what comes in."""

import pytest
import torch
from torch import nn

from fcis.lab.benchmark.sane_activations import settle
from fcis.model.norms import FrozenBatchNorm


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 1), FrozenBatchNorm(6)
    ).eval()


def test_every_normalisation_puts_out_mean_0_and_variance_1(model):
    image = 1000 * torch.randn(2, 3, 9, 9) + 500
    with torch.no_grad():
        assert model(image).std() > 100
        settle(lambda: model(image))
        for layers in (model[:2], model):
            out = layers(image)
            assert out.mean(dim=(0, 2, 3)).abs().max() < 1e-3
            assert (out.var(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-2


def test_it_leaves_no_hooks_even_after_an_error(model):
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        settle(fail)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model(torch.randn(1, 3, 9, 9))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_batch_norm_without_statistics_is_left_alone():
    model = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)).eval()
    settle(lambda: model(torch.randn(1, 3, 4, 4)))
    assert model[0].running_mean is None
