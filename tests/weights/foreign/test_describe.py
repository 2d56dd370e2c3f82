"""What is said of a network that came from a file of others."""

from dataclasses import replace
from pathlib import Path

import pytest

from fcis.core.errors import InputError
from fcis.recipe.conventions import CHAINERCV, PAPER, RELEASE, with_conventions
from fcis.recipe.named import named_recipe
from fcis.recipe.types import BackboneRecipe, Preprocessing
from fcis.weights.foreign.describe import BACKBONE, describe, resnet_name
from fcis.weights.foreign.detect import Architecture, HeadShape

HEAD = HeadShape(rpn_channels=512, num_anchors=12, reduction=1024, k=7, box_slots=2, num_classes=80)
COCO = Architecture(origin="release", backbone=BackboneRecipe(), head=HEAD)
VOC = replace(COCO, head=replace(HEAD, num_anchors=9, num_classes=20))
FILE = Path("some") / "file.params"


def described(architecture, name=FILE, conventions=None):
    return describe(architecture, Path(name), conventions)


# the model


@pytest.mark.parametrize(
    ("architecture", "recipe"), [(COCO, "coco-resnet101"), (VOC, "voc-resnet101")]
)
def test_the_release_s_models_are_their_recipes(architecture, recipe):
    model = described(architecture).info.model
    base = named_recipe(recipe).model
    assert len(model.class_names) == len(model.category_ids) == architecture.head.num_classes
    assert model == replace(
        base,
        class_names=model.class_names,
        category_ids=model.category_ids,
        backbone=replace(base.backbone, pretrained=""),
    )
    assert described(architecture).info.recipe == recipe


def test_numbers_of_the_data_sets():
    found = [described(a).info for a in (COCO, VOC)]
    coco, voc = (info.model for info in found)
    # reference 3.3, 3.6, 5.1, 6.2
    assert (coco.rpn.min_size, voc.rpn.min_size) == (2, 16)
    assert (coco.detection.drop_size, voc.detection.drop_size) == (2, 16)
    # what belongs to training is in the recipe that the file names
    lows = [named_recipe(info.recipe).training.targets.negative_low for info in found]
    assert lows == [0, 0.1]
    assert coco.category_ids[-1] == 90 and voc.category_ids[-1] == 20
    assert (coco.class_names[0], voc.class_names[0]) == ("person", "aeroplane")


def test_sizes_are_those_of_the_file():
    head = replace(HEAD, rpn_channels=7, reduction=8, k=3, box_slots=1, num_classes=2)
    backbone = BackboneRecipe(depths=(3, 4, 6, 3), widths=(2, 3, 4, 5), stem_width=6)
    found = described(replace(COCO, head=head, backbone=backbone))
    model = found.info.model
    assert (model.rpn.channels, model.head.reduction, model.head.k) == (7, 8, 3)
    assert model.backbone == backbone
    assert model == with_conventions(model, {**RELEASE, "box_slots": 1})
    assert model.class_names == ("class 1", "class 2") and model.category_ids == (1, 2)
    assert found.notes == ("the categories are named class 1, ...: the file does not name them",)
    assert found.network == "FCIS, ResNet-50, 12 anchors, 2 categories, k 3, 36 box maps"


def test_thresholds_are_those_of_the_demo():
    # reference 5.3
    assert described(COCO).info.thresholds == (0.7,) * 80


def test_other_anchors():
    with pytest.raises(InputError, match=r"file\.params: has 15 anchors a cell, of which the file"):
        described(replace(COCO, head=replace(HEAD, num_anchors=15)))


# conventions

CHAINER = replace(COCO, origin="chainercv")


@pytest.mark.parametrize(
    ("architecture", "name", "conventions"),
    [
        (COCO, "fcis_coco-0000.params", "release"),
        (COCO, "e2e-0021.params", "release"),
        (CHAINER, "fcis_resnet101_coco_converted_2019_01_30.npz", "release"),
        (CHAINER, "fcis_resnet101_sbd_converted_2018_07_02.npz", "release"),
        (CHAINER, "fcis_resnet101_coco_trained_2019_01_30.npz", "chainercv"),
        (CHAINER, "fcis_resnet101_sbd_trained_2018_06_22.npz", "chainercv"),
        (CHAINER, "snapshot_model.npz", "chainercv"),
    ],
)
def test_conventions_without_being_asked(architecture, name, conventions):
    found = described(architecture, name)
    assert found.conventions == conventions
    model, rows = found.info.model, {"release": RELEASE, "chainercv": CHAINERCV}[conventions]
    assert model == with_conventions(model, rows)
    guessed = name == "snapshot_model.npz"
    assert len(found.notes) == guessed
    assert not guessed or "in that case give --conventions release" in found.notes[0]


@pytest.mark.parametrize("architecture", [COCO, CHAINER])
@pytest.mark.parametrize(
    ("name", "conventions"),
    [
        ("release", RELEASE),
        ("chainercv", CHAINERCV),
        ("paper", {**PAPER, "box_slots": 2}),  # as many box maps as the file has
    ],
)
def test_conventions_that_were_asked_for(architecture, name, conventions):
    found = described(architecture, conventions=name)
    assert found.conventions == name
    assert found.info.model == with_conventions(found.info.model, conventions)
    assert found.notes == ()


def test_negatives_are_the_data_set_s_unless_as_in_the_paper():
    for asked in ("release", "chainercv", "paper"):
        assert described(VOC, conventions=asked).info.recipe == "voc-resnet101"
    recipes = [named_recipe(name) for name in ("voc-resnet101", "voc-resnet101-paper")]
    assert [r.training.targets.negative_low for r in recipes] == [0.1, 0.0]


def test_unknown_conventions():
    with pytest.raises(
        InputError, match=r"--conventions mine: no such .* release, chainercv, paper"
    ):
        described(COCO, conventions="mine")


# origin


@pytest.mark.parametrize(
    ("architecture", "name", "training_data", "licence"),
    [
        (
            COCO,
            "fcis_coco-0000.params",
            "COCO trainval35k, as released in 2017",
            "MIT (msracver/FCIS)",
        ),
        (
            CHAINER,
            "fcis_resnet101_coco_trained_2019_01_30.npz",
            "COCO trainval35k, by ChainerCV",
            "MIT (chainer/chainercv)",
        ),
        (
            replace(VOC, origin="chainercv"),
            "fcis_resnet101_sbd_converted_2018_07_02.npz",
            "VOC 2012 train with SBD, with the release's code, converted by ChainerCV",
            "MIT (chainer/chainercv)",
        ),
        (COCO, "e2e-0008.params", "probably COCO; converted from e2e-0008.params", ""),
        (VOC, "fcis_coco-0000.params", "probably VOC; converted from fcis_coco-0000.params", ""),
        (
            replace(COCO, head=replace(HEAD, num_classes=3)),
            "e2e-0008.params",
            "unknown; converted from e2e-0008.params",
            "",
        ),
    ],
)
def test_training_data_and_licence(architecture, name, training_data, licence):
    info = described(architecture, name).info
    assert (info.training_data, info.licence, info.metrics) == (training_data, licence, ())


# backbones


def test_backbones_alone():
    v1 = Architecture(origin="release", backbone=BackboneRecipe(depths=(3, 8, 36, 3)), head=None)
    found = described(v1, "resnet_v1_152-0000.params")
    assert found.info.is_backbone and found.info.recipe == BACKBONE
    assert found.info.model.preprocessing == Preprocessing()
    assert found.info.training_data.endswith("; converted from resnet_v1_152-0000.params")
    assert (found.conventions, found.notes, found.info.thresholds) == ("", (), ())
    assert found.network == "the backbone of an ImageNet classifier, ResNet-152, v1"
    modern = replace(v1, origin="torch", backbone=replace(v1.backbone, variant="modern"))
    found = described(modern)
    # 255 times torchvision's figures
    assert found.info.model.preprocessing.mean == pytest.approx((123.675, 116.28, 103.53))
    assert found.info.model.preprocessing.std == pytest.approx((58.395, 57.12, 57.375))
    assert "torchvision's mean and std are assumed" in found.notes[0]


def test_backbones_have_no_conventions():
    alone = replace(COCO, head=None)
    with pytest.raises(
        InputError, match=r"--conventions paper: some.file\.params holds a backbone "
    ):
        described(alone, conventions="paper")


def test_names_of_resnets():
    assert resnet_name(BackboneRecipe()) == "ResNet-101"
    assert resnet_name(BackboneRecipe(depths=(3, 4, 6, 3), block="basic")) == "ResNet-34"
    assert resnet_name(BackboneRecipe(depths=(1, 2, 3, 4))) == "ResNet of 1, 2, 3, 4 blocks"
