"""What is installed, which recipes and weights there are, and what weights say, as text."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from fcis.core.size_text import size_text
from fcis.recipe.named import RECIPES
from fcis.recipe.types import ModelRecipe
from fcis.weights.cache import cache_folder, state_of
from fcis.weights.catalog import card_of, resolve_weights, zoo
from fcis.weights.foreign.describe import resnet_name
from fcis.weights.published import PUBLISHED, Published
from fcis.weights.weights_file import WeightsInfo, read_info


def describe(weights: str) -> str:
    """Return what weights say of themselves.

    Args:
        weights: as `resolve_weights` takes them.

    Raises:
        InputError: they cannot be found, read or used.
    """
    path = resolve_weights(weights)
    info = read_info(path)
    if info.is_backbone:
        return f"{path}\n{describe_file(path)}\n{describe_backbone(info)}"
    return f"{path}\n{describe_file(path)}\n{describe_weights(info)}"


def describe_installation() -> str:
    """Return versions, devices, recipes, the zoo and published weights as text."""
    lines = [f"fcis {version('fcis-torch')}, Python {platform.python_version()}"]
    packages = ("torch", "torchvision", "timm", "lightning", "faster-coco-eval", "numpy", "pillow")
    lines.append("  " + ", ".join(f"{p} {version(p)}" for p in packages))
    lines.append("devices")
    lines.append(f"  cpu: {torch.get_num_threads()} threads")
    for i in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(i).total_memory / 2**30
        lines.append(f"  cuda:{i}: {torch.cuda.get_device_name(i)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        lines.append("  mps")
    lines.append("recipes (fcis train --recipe NAME)")
    lines += [f"  {name:22} {make().description}" for name, make in RECIPES.items()]
    lines.append("weights in the package (--weights NAME)")
    for name, path in zoo().items():
        lines += _in_the_zoo(name, path)
    if not zoo():
        lines.append("  none; train your own with `fcis train`")
    lines.append(f"published weights (--weights NAME), kept in {cache_folder()}")
    for entry in PUBLISHED.values():
        lines += _published(entry)
    return "\n".join(lines)


def describe_weights(info: WeightsInfo) -> str:
    """Return what a weights file says of itself as text."""
    names, thresholds = info.model.class_names, info.threshold_of()[1:]
    rows = [
        ("recipe", info.recipe or "unknown"),
        ("trained on", info.training_data or "unknown"),
        ("metrics", _headline(info)),
        ("licence", info.licence or "not stated"),
        ("network", _network(info.model)),
        ("classes", f"{len(names)}"),
    ]
    if info.about:
        rows.insert(0, ("about", info.about))
    if info.calibration is not None:
        found = info.calibration
        text = f"temperature {found.temperature:.3f}, bias {found.bias:.3f}"
        rows.insert(-2, ("calibration", text))
    lines = [f"  {name:12} {value}" for name, value in rows]
    for name, id_, threshold in zip(names, info.model.category_ids, thresholds, strict=True):
        lines.append(f"    {id_:4} {name} (operating threshold {threshold:.3f})")
    return "\n".join(lines)


def describe_file(path: Path) -> str:
    """Return the size of a weights file, and where its card is, as text."""
    card = card_of(path)
    rows = [("size", size_text(path.stat().st_size))]
    rows += [("card", str(card))] if card is not None else []
    return "\n".join(f"  {name:12} {value}" for name, value in rows)


def describe_backbone(info: WeightsInfo) -> str:
    """Return what a file with a backbone alone says of itself as text."""
    backbone = info.model.backbone
    rows = [
        ("trained on", info.training_data or "unknown"),
        ("licence", info.licence or "not stated"),
        ("backbone", f"{resnet_name(backbone)}, {backbone.variant}"),
        ("use", "begin training with it: fcis train --weights FILE"),
    ]
    return "\n".join(f"  {name:12} {value}" for name, value in rows)


def _published(entry: Published) -> list[str]:
    return [
        f"  {entry.name:22} {entry.about}; {state_of(entry)}",
        f"  {'':22} {entry.accuracy}; {entry.conventions} conventions",
    ]


def _in_the_zoo(name: str, path: Path) -> list[str]:
    info = read_info(path)
    size = size_text(path.stat().st_size)
    return [
        f"  {name:22} {info.about}; {size}; {info.licence}",
        f"  {'':22} {_headline(info)}",
    ]


def _headline(info: WeightsInfo) -> str:
    spread = dict(info.spread)
    figures = (
        f"{name} {value:.3f}" + (f" +- {spread[name]:.3f}" if name in spread else "")
        for name, value in info.metrics
    )
    return ", ".join(figures) or "none stored"


def _network(model: ModelRecipe) -> str:
    backbone = model.backbone
    added = "" if backbone.fusion == "none" else f" with {backbone.fusion}"
    area = f" for {model.rpn.nms_area:,.0f} px" if model.rpn.nms_area else ""
    return (
        f"{model.system}, {backbone.block} ResNet {backbone.depths}{added}, "
        f"stride {backbone.map_stride}, k {model.head.k}, {model.head.sampling}, "
        f"{model.rpn.post_nms} proposals{area}"
    )
