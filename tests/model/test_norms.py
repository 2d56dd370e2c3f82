import pytest
import torch
from torch import nn
from torch.nn import functional

from fcis.model.norms import FrozenBatchNorm, NarrowGroupNorm


def test_frozen_norm_is_batch_norm_in_evaluation_mode():
    torch.manual_seed(0)
    ours, theirs = FrozenBatchNorm(5), nn.BatchNorm2d(5, eps=1e-5)
    x = torch.randn(2, 5, 3, 4)
    theirs(x * 3 + 1)
    nn.init.normal_(theirs.weight)
    nn.init.normal_(theirs.bias)
    ours.load_state_dict(
        {k: v for k, v in theirs.state_dict().items() if k != "num_batches_tracked"}
    )
    torch.testing.assert_close(ours.train()(x), theirs.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(64, 32), (2048, 32), (32, 16), (96, 32), (48, 24), (40, 20), (7, 1), (1, 1)],
)
def test_group_norm_of_narrow_layers(channels, groups):
    norm = NarrowGroupNorm(channels)
    assert norm.num_groups == groups
    x = torch.randn(2, channels, 3, 3)
    expected = functional.group_norm(x, groups, eps=1e-5)
    torch.testing.assert_close(norm(x), expected)
