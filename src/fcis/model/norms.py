"""The normalisations of backbones: frozen statistics, and groups for layers of any width."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

BATCH_NORM_EPS = 1e-5
MAX_GROUPS = 32  # Wu and He, Group Normalization, 2018


class FrozenBatchNorm(nn.Module):
    """Normalise by stored statistics, which nothing but loading weights ever changes.

    The scale `weight` and shift `bias` are parameters and may be trained. There is no counter of
    batches in the saved state.

    Official: symbols/resnet_v1_101_fcis.py:32 @309f6c9 (use_global_stats, fix_gamma off).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.eps = BATCH_NORM_EPS
        self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype))
        mean = torch.zeros(num_features, device=device, dtype=dtype)
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", torch.ones_like(mean))

    def forward(self, x: Float[Tensor, "image channel h w"]) -> Float[Tensor, "image channel h w"]:
        """Return the normalised map."""
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class NarrowGroupNorm(nn.GroupNorm):
    """GroupNorm with 32 groups, or fewer where the layer is narrow.

    The number of groups divides the channels and leaves at least two channels to a group: one
    channel a group would be another normalisation, and fails on a map of a single cell.
    """

    def __init__(
        self,
        num_channels: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        most = max(1, min(MAX_GROUPS, num_channels // 2))
        groups = next(n for n in range(most, 0, -1) if num_channels % n == 0)
        super().__init__(groups, num_channels, device=device, dtype=dtype)
