"""The table of backbones: each kind builds what the seam promises."""

from dataclasses import replace

import pytest
import torch

from fcis.core.errors import InputError
from fcis.model.backbones import BACKBONES, build_backbone

from .backbone_cases import SLIM, image_batch


def test_unknown_kinds_are_refused():
    with pytest.raises(
        InputError, match=r"^model\.backbone\.network: is 'vit', expected one of resnet"
    ):
        build_backbone(replace(SLIM, network="vit"))


@pytest.mark.parametrize("name", BACKBONES)
def test_what_is_promised_is_there(name):
    backbone = build_backbone(replace(SLIM, network=name, in_channels=2))
    assert backbone.get_parameter(f"{backbone.stem}.weight").shape[1] == 2
    assert not backbone.stem_norm or backbone.get_submodule(backbone.stem_norm)
    assert all(hasattr(SLIM, name) for name in (*backbone.meanings, *backbone.sizes))
    features = backbone.eval()(image_batch(torch.zeros(1, 2, 64, 96)))
    assert features.c4.shape[1:] == (backbone.channels[0], *backbone.grid_size(64, 96))
    assert features.c5.shape[1] == backbone.channels[1]
    side = backbone.least_side
    assert backbone.cells_along(side) == 1 and backbone.cells_along(side - 1) == 0
    assert list(backbone.last_stage.parameters())
