"""What every backbone shares: images of several sizes on one canvas."""

from dataclasses import replace

import pytest
import torch

from fcis.model.backbones import build_backbone

from .backbone_cases import SLIM, image_batch, randomised


@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("variant", ["v1", "modern"])
def test_an_image_does_not_depend_on_its_batch(variant, stride, norm):
    backbone = randomised(replace(SLIM, variant=variant, stride=stride, norm=norm))
    sizes = [(70, 50), (33, 97), (70, 50), (61, 64)]
    pixels = torch.full((4, 3, 75, 97), torch.nan)  # outside the images: never looked at
    for image, (height, width) in enumerate(sizes):
        pixels[image, :, :height, :width] = torch.randn(3, height, width)
    with torch.inference_mode():
        together = backbone(image_batch(pixels, sizes))
        assert tuple(together.c4.shape[2:]) == backbone.grid_size(75, 97)
        for image, (height, width) in enumerate(sizes):
            own = pixels[image : image + 1, :, :height, :width]
            alone = backbone(image_batch(own))
            rows, columns = together.cells[image].tolist()
            assert (rows, columns) == tuple(alone.cells[0].tolist()) == tuple(alone.c4.shape[2:])
            for name in ("c4", "c5"):
                mixed, single = getattr(together, name)[image].clone(), getattr(alone, name)[0]
                difference = (mixed[:, :rows, :columns] - single).abs().max()
                assert difference <= 1e-5 * single.abs().max()
                mixed[:, :rows, :columns] = 0
                assert not mixed.any()


def test_gradients_reach_every_group():
    backbone = randomised(SLIM)
    pixels = torch.randn(2, 3, 64, 64, requires_grad=True)
    features = backbone(image_batch(pixels, [(64, 40), (33, 64)]))
    (features.c4.sum() + features.c5.sum()).backward()
    assert pixels.grad[0, :, :, :40].any() and pixels.grad[1, :, :33].any()
    assert not pixels.grad[0, :, :, 40:].any() and not pixels.grad[1, :, 33:].any()


def test_one_size_smaller_than_the_canvas():
    backbone = randomised(SLIM)
    pixels = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        features = backbone(image_batch(pixels, [(64, 64), (64, 64)]))
        c4, _ = backbone.extract(pixels[..., :64])
    assert features.cells.tolist() == [[4, 4], [4, 4]]
    torch.testing.assert_close(features.c4[..., :4], c4)
    assert features.c4.shape[3] == 6 and not features.c4[..., 4:].any()


def test_empty_batch():
    backbone = build_backbone(SLIM)
    features = backbone(image_batch(torch.zeros(0, 3, 64, 96), []))
    assert features.c4.shape == (0, backbone.channels[0], 4, 6)
    assert features.c5.shape == (0, backbone.channels[1], 4, 6)
    assert features.cells.shape == (0, 2)


def test_image_larger_than_the_canvas():
    message = "sizes: expected at most the canvas, 40 x 40, got image 1 with 40 x 41"
    with pytest.raises(ValueError, match=message):
        build_backbone(SLIM)(image_batch(torch.zeros(2, 3, 40, 40), [(40, 40), (40, 41)]))
