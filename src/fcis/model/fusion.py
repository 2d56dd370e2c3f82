"""conv5 and an earlier, finer layer -> one map on the finer grid.

conv5 sees far, but its cells are large and its dilated convolutions look past their neighbours;
small objects that touch are a few cells each. An earlier layer is sharper there. As in a feature
pyramid, the coarse map is enlarged and the fine one added through a 1x1 convolution.

Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017. Not in the paper.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Fusion(nn.Module):
    """Enlarge conv5 to a finer grid and add an earlier layer.

    The 1x1 convolution has a normalisation behind it, like a ResNet's shortcuts: what it adds
    then begins about as large as what it is added to, whichever layer it comes from.

    Attributes:
        source: the layer that is added: the output of conv2_x or of conv3_x.
        factor: cells of the fused map a side for one of conv5.
    """

    def __init__(
        self, *, lateral: nn.Conv2d, norm: nn.Module, source: Literal["c2", "c3"], factor: int
    ) -> None:
        super().__init__()
        self.source: Literal["c2", "c3"] = source
        self.lateral = lateral
        self.norm = norm
        self.factor = factor

    def forward(
        self,
        c5: Float[Tensor, "image channel5 h w"],
        finer: Float[Tensor, "image channel h2 w2"],
    ) -> Float[Tensor, "image channel5 h3 w3"]:
        """Return the fused map, with exactly `factor` cells a side for each of conv5.

        Where the finer layer ends before the last cell of conv5 does, its edge is repeated. These
        cells lie behind the image. Conv5 is enlarged bilinearly between the centres of its cells.

        Args:
            c5: of images that fill the canvas; padding would leak into them.
            finer: of the same images.
        """
        added = self.norm(self.lateral(finer))
        height, width = (self.factor * n for n in c5.shape[2:])
        missing = (0, width - added.shape[3], 0, height - added.shape[2])
        if any(missing):
            added = functional.pad(added, missing, mode="replicate")
        if self.factor == 1:
            return c5 + added
        enlarged = functional.interpolate(
            c5, scale_factor=float(self.factor), mode="bilinear", align_corners=False
        )
        return enlarged + added
