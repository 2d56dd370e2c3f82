"""What a foreign weights file is, as far as its names, shapes and file name tell: no arrays."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from fcis.core.errors import InputError
from fcis.recipe.conventions import named_conventions, with_conventions
from fcis.recipe.named import named_recipe
from fcis.recipe.types import BackboneRecipe, ModelRecipe, Preprocessing
from fcis.weights.foreign.categories import categories_of
from fcis.weights.foreign.detect import Architecture, HeadShape, Origin
from fcis.weights.published import RELEASED_COCO
from fcis.weights.weights_file import WeightsInfo

BACKBONE = "imagenet-backbone"
_DEMO_THRESHOLD = 0.7  # above which the release's demo shows objects (reference: 5.3)
_SETS = {"COCO": "COCO trainval35k", "VOC": "VOC 2012 train with SBD", "": "data of its own"}
_CHAINERCV_FILE = re.compile(r"fcis_resnet101_(coco|sbd)_(converted|trained)_.*\.npz")
_RESNETS = {
    ("bottleneck", (3, 4, 6, 3)): "ResNet-50",
    ("bottleneck", (3, 4, 23, 3)): "ResNet-101",
    ("bottleneck", (3, 8, 36, 3)): "ResNet-152",
    ("basic", (2, 2, 2, 2)): "ResNet-18",
    ("basic", (3, 4, 6, 3)): "ResNet-34",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a weights file will say of itself, and what people are told.

    Attributes:
        info: for the file.
        network: for people.
        conventions: name of the set; empty for a backbone alone.
        notes: what the source does not say and was assumed, a line each.
    """

    info: WeightsInfo
    network: str
    conventions: str
    notes: tuple[str, ...]


def describe(architecture: Architecture, source: Path, conventions: str | None) -> Description:
    """Return what is known of a network from a foreign file.

    Args:
        architecture: read off its names and shapes.
        source: the file; of its path the name is looked at.
        conventions: name of a set, or None for those that it was trained for.

    Raises:
        InputError: the file does not say what is needed, or there are no such conventions.
    """
    if architecture.head is None:
        return _describe_backbone(architecture, source, conventions)
    return _describe_model(architecture, architecture.head, source, conventions)


def _describe_model(
    architecture: Architecture, shape: HeadShape, source: Path, conventions: str | None
) -> Description:
    bases = [named_recipe(name) for name in ("coco-resnet101", "voc-resnet101")]
    of_anchors = {len(b.model.rpn.anchor_sizes) * len(b.model.rpn.anchor_ratios): b for b in bases}
    if shape.num_anchors not in of_anchors:
        raise InputError(
            f"{source}: has {shape.num_anchors} anchors a cell, of which the file does not say the "
            "sizes; expected 12 as for COCO or 9 as for VOC"
        )
    base = of_anchors[shape.num_anchors]
    dataset, names, ids = categories_of(shape.num_classes)
    chosen, notes = conventions or "", []
    if not chosen:
        chosen, assumed = _default_conventions(architecture.origin, source)
        notes += [assumed] if assumed else []
    if not dataset:
        notes.append(f"the categories are named {names[0]}, ...: the file does not name them")
    model = replace(
        base.model,
        class_names=names,
        category_ids=ids,
        backbone=architecture.backbone,
        rpn=replace(base.model.rpn, channels=shape.rpn_channels),
        head=replace(base.model.head, reduction=shape.reduction, k=shape.k),
    )
    # the slots are read off the arrays
    model = with_conventions(model, {**named_conventions(chosen), "box_slots": shape.box_slots})
    training_data, licence = _provenance(architecture.origin, source, dataset)
    info = WeightsInfo(
        model=model,
        recipe=base.name,
        thresholds=(_DEMO_THRESHOLD,) * shape.num_classes,
        training_data=training_data,
        licence=licence,
    )
    network = (
        f"FCIS, {resnet_name(architecture.backbone)}, {shape.num_anchors} anchors, "
        f"{shape.num_classes} categories{f' ({dataset})' if dataset else ''}, k {shape.k}, "
        f"{4 * shape.k**2 * shape.box_slots} box maps"
    )
    return Description(info=info, network=network, conventions=chosen, notes=tuple(notes))


def _default_conventions(origin: Origin, source: Path) -> tuple[str, str]:
    """Return the conventions a model was trained for, and a line if that is a guess."""
    if origin == "release":
        return "release", ""
    published = _CHAINERCV_FILE.fullmatch(source.name)
    if published:
        return "release" if published[2] == "converted" else "chainercv", ""
    return "chainercv", (
        "the file does not say whether ChainerCV trained it, as was assumed, or converted it from "
        "the release's code; in that case give --conventions release"
    )


def _provenance(origin: Origin, source: Path, dataset: str) -> tuple[str, str]:
    """Return what the weights were trained on and their licence, as far as the name tells."""
    if origin == "release" and source.name == RELEASED_COCO and dataset == "COCO":
        return f"{_SETS[dataset]}, as released in 2017", "MIT (msracver/FCIS)"
    published = _CHAINERCV_FILE.fullmatch(source.name)
    if origin == "chainercv" and published:
        how = {
            "converted": "with the release's code, converted by ChainerCV",
            "trained": "by ChainerCV",
        }
        return f"{_SETS[dataset]}, {how[published[2]]}", "MIT (chainer/chainercv)"
    guess = f"probably {dataset}" if dataset else "unknown"
    return f"{guess}; converted from {source.name}", ""


def _describe_backbone(
    architecture: Architecture, source: Path, conventions: str | None
) -> Description:
    if conventions is not None:
        raise InputError(
            f"--conventions {conventions}: {source} holds a backbone alone, for which there are "
            "none; leave it out"
        )
    preprocessing, notes = Preprocessing(), []
    if architecture.origin == "torch":
        preprocessing = replace(
            preprocessing,
            mean=tuple(255 * value for value in IMAGENET_DEFAULT_MEAN),
            std=tuple(255 * value for value in IMAGENET_DEFAULT_STD),
        )
        notes.append(
            "the file does not say what input it was trained on; torchvision's mean and std are "
            "assumed, as most of timm's weights have them"
        )
    model = ModelRecipe(backbone=architecture.backbone, preprocessing=preprocessing)
    training_data = f"ImageNet classification; converted from {source.name}"
    info = WeightsInfo(model=model, recipe=BACKBONE, training_data=training_data)
    backbone = architecture.backbone
    network = f"the backbone of an ImageNet classifier, {resnet_name(backbone)}, {backbone.variant}"
    return Description(info=info, network=network, conventions="", notes=tuple(notes))


def resnet_name(recipe: BackboneRecipe) -> str:
    """Return what people call a backbone of these depths."""
    depths = ", ".join(map(str, recipe.depths))
    return _RESNETS.get((recipe.block, recipe.depths), f"ResNet of {depths} blocks")
