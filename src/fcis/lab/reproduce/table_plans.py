"""What each table trains and evaluates: rows, networks and their recipes, made from one recipe.

Within a table all networks have the backbone, targets and steps of the recipe that the plan is
made from, save for what the table is about.
"""

from collections.abc import Mapping
from dataclasses import replace
from statistics import geometric_mean

from fcis.inference.test_time.ensemble import Averaging
from fcis.inference.test_time.scales import PAPER_SCALES, read_scales
from fcis.lab.reproduce.rows import Plan, Row, TableName, Training
from fcis.recipe.baselines import TABLE1, mnc, mnc_3stage
from fcis.recipe.types import Recipe

_SEED_STEP = 1000  # between the seeds of networks that an ensemble has of one kind
_COCO = {
    "AP": "AP",
    "AP50": "AP50",
    "AP_small": "AP small",
    "AP_medium": "AP medium",
    "AP_large": "AP large",
}
# Blocks of conv2_x .. conv5_x (He et al., 2016), and a few that grow alike.
_DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
_SMALL_DEPTHS = {"resnet50": (1, 1, 1, 1), "resnet101": (1, 1, 4, 1), "resnet152": (1, 2, 6, 1)}
# Factors of the test's own size, where the paper's sides would not suit a small network.
_SMALL_SCALES = ("0.7x", "1x", "1.4x")
_SMALL_RANGE = (0.7, 1.4)
_PAPER_PATCH = 600  # px (Paper: 4.3, multi-scale training)


def make_plan(table: TableName, base: Recipe) -> Plan:
    """Return the plan of a table.

    Args:
        table: which one.
        base: of FCIS; its backbone, targets and steps are those of all.
    """
    plans = {"table1": _table1, "table2": _table2, "table3": _table3, "table4": _table4}
    return plans[table](base)


def is_small(base: Recipe) -> bool:
    """Tell whether a recipe is one of those that train from scratch."""
    return not base.model.backbone.pretrained and base.model.head.init == "he"


def _table1(base: Recipe) -> Plan:
    fcis = replace(base, training=_sampling(base, ohem=False).training)
    systems = {name: make(fcis) for name, make in TABLE1.items()} | {"fcis": fcis}
    labels = {
        "naive-mnc": "naive MNC",
        "instfcn-rfcn": "InstFCN + R-FCN",
        "fcis-k1": "FCIS (translation invariant)",
        "fcis-separate": "FCIS (separate score maps)",
        "fcis": "FCIS",
    }
    return Plan(
        table="table1",
        title="Table 1: (almost) fully convolutional methods, without OHEM",
        base=base,
        metrics={"mAP_r@0.5": "mAP^r 0.5", "mAP_r@0.7": "mAP^r 0.7"},
        compared=("mAP_r@0.5", "mAP_r@0.7"),
        reference="fcis",
        trainings=tuple(Training(name=name, recipe=systems[name]) for name in labels),
        rows=_rows(labels, timed=True),
    )


def _table2(base: Recipe) -> Plan:
    fcis = _sampling(base, ohem=False)
    five = mnc(fcis)
    trainings = (
        Training(name="mnc-3stage", recipe=mnc_3stage(fcis)),
        Training(name="mnc", recipe=five),
        Training(name="fcis", recipe=fcis),
        Training(name="mnc-ohem", recipe=_sampling(five, ohem=True), is_trained=False),
        Training(name="fcis-ohem", recipe=_sampling(base, ohem=True)),
    )
    labels = {
        "mnc-3stage": "MNC, three stages, random",
        "mnc": "MNC, five stages, random",
        "fcis": "FCIS, random",
        "mnc-ohem": "MNC, five stages, OHEM",
        "fcis-ohem": "FCIS, OHEM",
    }
    rows = _rows(labels, timed=True)
    # hard examples change what is learnt, not what is computed at test
    time_alone = replace(rows[3], networks=("mnc",), has_figures=False)
    return Plan(
        table="table2",
        title="Table 2: comparison with MNC",
        base=base,
        metrics=_COCO,
        compared=("AP",),
        reference="fcis",
        trainings=trainings,
        rows=(*rows[:3], time_alone, rows[4]),
        with_operations=True,
    )


def _table3(base: Recipe) -> Plan:
    labels = {name: name.replace("resnet", "ResNet-") for name in _DEPTHS}
    if is_small(base):
        blocks = {name: "-".join(map(str, depths)) for name, depths in _SMALL_DEPTHS.items()}
        labels = {name: f"{text} in small, {blocks[name]} blocks" for name, text in labels.items()}
    return Plan(
        table="table3",
        title="Table 3: networks of different depths",
        base=base,
        metrics={"AP": "AP", "AP50": "AP50"},
        compared=("AP",),
        reference="resnet101",
        trainings=tuple(Training(name=name, recipe=_deeper(base, name)) for name in labels),
        rows=_rows(labels),
        with_operations=True,
    )


def _table4(base: Recipe) -> Plan:
    small = is_small(base)
    scales = read_scales(_SMALL_SCALES if small else PAPER_SCALES)
    side = round(geometric_mean(base.model.rpn.anchor_sizes)) if small else 224
    scaled = Averaging(scales=scales, roi_side=side)
    mirrored = replace(scaled, flip=True)
    change = base.training.augmentation
    if small:
        single, several = replace(change, scale=(1.0, 1.0)), replace(change, scale=_SMALL_RANGE)
    else:
        single = change
        several = replace(change, sides=PAPER_SCALES, crop=_PAPER_PATCH, crop_above=_PAPER_PATCH)
    multi = replace(base, training=replace(base.training, augmentation=several))
    deep = _deeper(multi, "resnet152")
    members = {"ensemble-2": (deep, 0), "ensemble-3": (multi, _SEED_STEP)}
    if not small:
        members["ensemble-4"] = (deep, _SEED_STEP)
        members["ensemble-5"] = (multi, 2 * _SEED_STEP)
        members["ensemble-6"] = (deep, 2 * _SEED_STEP)
    trainings = [
        Training(
            name="single-scale",
            recipe=replace(base, training=replace(base.training, augmentation=single)),
        ),
        Training(name="multi-scale", recipe=multi),
    ]
    trainings += [Training(name=n, recipe=r, seed_offset=o) for n, (r, o) in members.items()]
    one, every = ("multi-scale",), ("multi-scale", *members)
    ladder = (
        ("baseline", "FCIS baseline", ("single-scale",), Averaging()),
        ("multi-scale-testing", "+ multi-scale testing", ("single-scale",), scaled),
        ("horizontal-flip", "+ horizontal flip", ("single-scale",), mirrored),
        ("multi-scale-training", "+ multi-scale training", one, mirrored),
        ("ensemble", f"+ ensemble of {len(every)}", every, mirrored),
    )
    rows = tuple(
        Row(name=name, label=label, networks=networks, averaging=tools)
        for name, label, networks, tools in ladder
    )
    return Plan(
        table="table4",
        title="Table 4: the competition entry",
        base=base,
        metrics={"AP": "AP", "AP50": "AP50"},
        compared=("AP",),
        reference="baseline",
        trainings=tuple(trainings),
        rows=rows,
    )


def _rows(labels: Mapping[str, str], *, timed: bool = False) -> tuple[Row, ...]:
    """Return a row for each network, with the time of its step or without."""
    return tuple(
        Row(name=name, label=label, networks=(name,), step_of=name if timed else "")
        for name, label in labels.items()
    )


def _sampling(base: Recipe, *, ohem: bool) -> Recipe:
    targets = replace(base.training.targets, ohem=ohem)
    return replace(base, training=replace(base.training, targets=targets))


def _deeper(base: Recipe, name: str) -> Recipe:
    """Return the recipe with the blocks of a ResNet, and with its ImageNet weights if it has."""
    backbone = base.model.backbone
    depths = _SMALL_DEPTHS[name] if is_small(base) else _DEPTHS[name]
    pretrained = backbone.pretrained.replace("resnet101", name)
    backbone = replace(backbone, depths=depths, pretrained=pretrained)
    return replace(base, name=f"{base.name}-{name}", model=replace(base.model, backbone=backbone))
