"""A ResNet's geometry, first weights, norms and frozen stages."""

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from fcis.core.errors import InputError
from fcis.model.backbones import build_backbone
from fcis.model.norms import FrozenBatchNorm

from .backbone_cases import SLIM, image_batch, randomised

# reference 2.5: H, c1, p1, r3, r4 = r5
SIZE_TABLE = [
    (600, 300, 150, 75, 38),
    (800, 400, 200, 100, 50),
    (1000, 500, 250, 125, 63),
    (375, 188, 94, 47, 24),
    (450, 225, 112, 56, 28),
    (562, 281, 140, 70, 35),
]


def broken(**values):
    """A recipe with values that its types rule out, as a JSON file may hold them."""
    recipe = replace(SLIM)
    for name, value in values.items():
        object.__setattr__(recipe, name, value)
    return recipe


# Sizes


@pytest.mark.parametrize(("height", "c1", "p1", "r3", "r4"), SIZE_TABLE)
def test_sizes_of_the_reference(height, c1, p1, r3, r4):
    backbone = build_backbone(replace(SLIM, depths=(1, 1, 1, 1)))
    seen = {}
    for name in ("bn1", "maxpool", "layer2", "layer3", "layer4"):
        part = backbone.get_submodule(name)
        part.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.shape[2]}))
    with torch.inference_mode():
        backbone.extract(torch.zeros(1, 3, height, 16))
    assert seen == {"bn1": c1, "maxpool": p1, "layer2": r3, "layer3": r4, "layer4": r4}
    assert backbone.grid_size(height, height) == (r4, r4)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("variant", ["v1", "modern"])
def test_grid_size_is_that_of_the_network(variant, stride):
    thin = replace(SLIM, depths=(1, 1, 1, 1), widths=(2, 2, 2, 2), stem_width=2)
    backbone = build_backbone(replace(thin, variant=variant, stride=stride))
    smallest = [3, 4, 5, 6] if variant == "v1" else [1, 2, 3, 4]
    with torch.inference_mode():
        for height in smallest + list(range(33, 71)):
            width = 103 - height
            c4, c5 = backbone.extract(torch.zeros(1, 3, height, width))
            assert backbone.grid_size(height, width) == tuple(c4.shape[2:]) == tuple(c5.shape[2:])


def test_too_small_an_image():
    v1, modern = build_backbone(SLIM), build_backbone(replace(SLIM, variant="modern"))
    with pytest.raises(InputError, match=r"image of 2 x 900 pixels.*at least 3 x 3"):
        v1(image_batch(torch.zeros(1, 3, 2, 900)))
    with pytest.raises(InputError, match=r"image of 40 x 0 pixels.*at least 1 x 1"):
        modern.grid_size(40, 0)
    assert v1.grid_size(3, 3) == modern.grid_size(1, 1) == (1, 1)


@pytest.mark.parametrize(("block", "expansion"), [("basic", 1), ("bottleneck", 4)])
def test_channels_and_stride(block, expansion):
    backbone = build_backbone(replace(SLIM, block=block, stride=8, in_channels=2))
    features = backbone(image_batch(torch.zeros(1, 2, 40, 64)))
    assert backbone.channels == (16 * expansion, 16 * expansion)
    assert features.c4.shape == (1, backbone.channels[0], 5, 8)
    assert features.c5.shape == (1, backbone.channels[1], 5, 8)
    assert (features.stride, features.cells.tolist()) == (8, [[5, 8]])


def test_modern_is_timms_resnet_but_for_the_dilation_of_conv5():
    """timm leaves conv5's first block undilated; with that put right, the two must agree."""
    recipe = replace(SLIM, depths=(2, 2, 2, 2), widths=(64, 128, 256, 512), stem_width=64)
    ours = randomised(replace(recipe, variant="modern", block="basic"))
    theirs = timm.create_model("resnet18", output_stride=16, num_classes=0).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    first = theirs.get_submodule("layer4.0.conv1")
    first.dilation = first.padding = (2, 2)
    x = torch.randn(1, 3, 65, 50)
    with torch.inference_mode():
        torch.testing.assert_close(ours.extract(x)[1], theirs.forward_features(x))


# Norms and freezing


@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
def test_eps_of_the_stem(norm):
    recipe = replace(SLIM, norm=norm)
    default, other = build_backbone(recipe), build_backbone(replace(recipe, stem_eps=2e-5))
    assert default.bn1.eps == 1e-5
    norms = FrozenBatchNorm | nn.BatchNorm2d | nn.GroupNorm
    found = {name: m.eps for name, m in other.named_modules() if isinstance(m, norms)}
    assert found.pop("bn1") == 2e-5
    assert set(found.values()) == {1e-5}


def statistics(backbone):
    return {key: value.clone() for key, value in backbone.named_buffers()}


def train_once(backbone):
    backbone.train()
    features = backbone(image_batch(torch.randn(2, 3, 64, 64)))
    loss = features.c4.square().mean() + features.c5.square().mean()
    loss.backward()
    torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1).step()


def test_training_leaves_frozen_statistics_alone():
    backbone = randomised(SLIM)
    before, scale = statistics(backbone), backbone.bn1.weight.detach().clone()
    train_once(backbone)
    after = statistics(backbone)
    assert before.keys() == after.keys()
    assert not any("num_batches_tracked" in key for key in before)
    assert all(torch.equal(before[key], after[key]) for key in before)
    # the scale, however, is trained
    assert not torch.equal(scale, backbone.bn1.weight)


@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
@pytest.mark.parametrize("frozen_stages", range(6))
def test_frozen_stages_get_no_gradient(norm, frozen_stages):
    recipe = replace(SLIM, norm=norm, frozen_stages=frozen_stages)
    backbone = randomised(recipe)
    before = statistics(backbone)
    if frozen_stages < 5:
        train_once(backbone)
    frozen = ("conv1.", "bn1."), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",)
    prefixes = tuple(prefix for part in frozen[:frozen_stages] for prefix in part)
    for key, value in backbone.named_parameters():
        assert value.requires_grad != key.startswith(prefixes), key
        assert (value.grad is None) == key.startswith(prefixes), key
    for key, value in backbone.named_buffers():
        still = norm == "frozen" or key.startswith(prefixes)
        assert torch.equal(value, before[key]) == still, key


def test_train_affine_off_trains_convolutions_alone():
    backbone = build_backbone(replace(SLIM, train_affine=False))
    for key, value in backbone.named_parameters():
        assert value.requires_grad == (value.dim() == 4), key


@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
def test_no_residual_branch_starts_switched_off(norm):
    backbone = build_backbone(replace(SLIM, norm=norm))
    scales = {k: v for k, v in backbone.named_parameters() if v.dim() == 1 and "weight" in k}
    assert scales
    # frozen norms that no weights fill would let features grow with every block
    branch = sum(SLIM.depths) ** -0.5 if norm == "frozen" else 1
    last = "bn2.weight" if SLIM.block == "basic" else "bn3.weight"
    for name, scale in scales.items():
        is_last = name.startswith("layer") and name.endswith(last)
        assert scale.eq(torch.tensor(branch if is_last else 1.0)).all(), name


def test_features_without_pretrained_weights_stay_as_large_as_the_image():
    """ResNet-101 with frozen norms; a hundred thousand times as large, if branches just add up."""
    torch.manual_seed(0)
    deep = replace(SLIM, norm="frozen", depths=(3, 4, 23, 3), pretrained="")
    c4, c5 = build_backbone(deep).extract(torch.randn(1, 3, 64, 64))
    assert 0.01 < c4.std() < 10 and 0.01 < c5.std() < 10


def test_convolutions_start_from_he():
    torch.manual_seed(0)
    weight = build_backbone(replace(SLIM, widths=(8, 8, 16, 64))).get_submodule("layer4.1.conv2")
    expected = (2 / (64 * 9)) ** 0.5
    assert weight.weight.std().item() == pytest.approx(expected, rel=0.02)


def test_batch_norm_is_trained_with_the_releases_eps():
    backbone = build_backbone(replace(SLIM, norm="batch"))
    assert isinstance(backbone.bn1, nn.BatchNorm2d)
    assert backbone.bn1.eps == 1e-5


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize(("variant", "block"), [("v1", "bottleneck"), ("modern", "basic")])
def test_conv5_for_rois(variant, block, stride):
    """Its stride is back, its dilation gone; arrays have the same names and shapes."""
    recipe = replace(SLIM, widths=(8, 8, 8, 16), variant=variant, block=block, stride=stride)
    whole, apart = build_backbone(recipe), build_backbone(recipe, conv5="roi")
    shapes = {name: value.shape for name, value in whole.state_dict().items()}
    assert {name: value.shape for name, value in apart.state_dict().items()} == shapes
    assert apart.channels == whole.channels
    convs = [m for m in apart.layer4.modules() if isinstance(m, nn.Conv2d)]
    assert all(c.dilation == (1, 1) for c in convs)
    strided = apart.layer4[0].conv1 if variant == "v1" and block == "bottleneck" else None
    if strided is not None:
        assert strided.stride == (2, 2) and apart.layer4[0].conv2.stride == (1, 1)
    x = torch.zeros(2, apart.channels[0], 14, 14)
    assert apart.layer4(x).shape == (2, apart.channels[1], 7, 7)
    apart.load_state_dict(whole.state_dict())
    sizes = [(64, 96), (40, 50)]
    batch = image_batch(torch.rand(2, 3, 64, 96), sizes)
    with torch.no_grad():
        expected, found = whole.eval()(batch), apart.eval()(batch)
    assert torch.equal(found.c4, expected.c4) and torch.equal(found.cells, expected.cells)
    assert found.c5.shape == (2, 0, *found.c4.shape[2:])


# Recipes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"block": "wide"}, "block: is 'wide', expected one of basic, bottleneck$"),
        ({"variant": "v2"}, "variant: is 'v2', expected one of v1, modern$"),
        ({"stride": 32}, "stride: is 32, expected one of 8, 16$"),
        ({"norm": "layer"}, "norm: is 'layer', expected one of frozen, batch, group$"),
        ({"frozen_stages": 6}, "frozen_stages: is 6, expected 0 to 5$"),
        ({"depths": (1, 1, 1)}, r"depths: is \(1, 1, 1\), expected 4 values$"),
        ({"depths": (1, 1, 0, 1)}, r"depths\[2\]: is 0, expected 1 to 256$"),
        ({"widths": (8, 8, -8, 8)}, r"widths\[2\]: is -8, expected 1 to 65,536$"),
        ({"stem_width": 0}, "stem_width: is 0, expected 1 to 65,536$"),
        ({"in_channels": 0}, "in_channels: is 0, expected 1 to 1,024$"),
    ],
)
def test_impossible_values(values, message):
    with pytest.raises(InputError, match=rf"^model\.backbone\.{message}"):
        build_backbone(broken(**values))
