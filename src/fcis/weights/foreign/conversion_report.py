"""What became of the arrays of a foreign file -> text for people, and JSON."""

from pathlib import Path

from fcis.recipe.as_json import JSON
from fcis.weights.foreign.conversion import ArrayRecord, Conversion

_RECIPE = "coco-resnet101"  # of the release, for a backbone to be trained with


def summary(conversion: Conversion, source: Path, target: Path) -> str:
    """Return what a person wants to know of a conversion."""
    description = conversion.description
    left_out: dict[str, list[ArrayRecord]] = {}
    for record in conversion.arrays:
        if record.reason:
            left_out.setdefault(record.reason, []).append(record)
    taken = len(conversion.arrays) - sum(map(len, left_out.values()))
    rows = [
        ("kind", conversion.kind),
        ("network", description.network),
        ("conventions", description.conventions),
        ("trained on", description.info.training_data),
        ("taken", f"{taken} of {len(conversion.arrays)} arrays"),
    ]
    rows += [("left out", _left_out(reason, found)) for reason, found in left_out.items()]
    rows += [("note", note) for note in description.notes]
    lines = [str(source)]
    lines += [f"  {name:12} {value}" for name, value in rows if value]
    lines.append(f"weights: {target}")
    return "\n".join(lines)


def report_json(conversion: Conversion, source: Path, target: Path) -> JSON:
    """Return what became of every array as plain JSON values."""
    description = conversion.description
    return {
        "source": str(source),
        "target": str(target),
        "kind": conversion.kind,
        "network": description.network,
        "conventions": description.conventions,
        "notes": list(description.notes),
        "arrays": [
            {
                "source": record.source,
                "target": record.target or None,
                "transform": record.transform or None,
                "left_out": record.reason or None,
                "dtype": record.dtype,
                "shape": list(record.shape),
                "sha256": record.digest or None,
            }
            for record in conversion.arrays
        ],
    }


def report_text(conversion: Conversion, source: Path, target: Path) -> str:
    """Return what became of every array as a Markdown table."""
    lines = [
        f"# {source.name} to {target.name}",
        "",
        f"{conversion.kind}: {conversion.description.network}.",
        "",
        "`sha256` is the beginning of the digest of the target's values, float32, little-endian, "
        "row by row.",
        "",
        "| source | target | transform | type | shape | sha256 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for record in conversion.arrays:
        shape = " x ".join(map(str, record.shape)) or "one number"
        how = record.transform or f"left out: {record.reason}"
        cells = (record.source, record.target or "-", how, record.dtype, shape, record.digest)
        lines.append(f"| {' | '.join(cell or '-' for cell in cells)} |")
    return "\n".join(lines) + "\n"


def next_step(conversion: Conversion, target: Path) -> str:
    """Return how to use the target of a conversion."""
    info = conversion.description.info
    if not info.is_backbone:
        return f"try it:  fcis predict IMAGES --weights {target}"
    backbone = info.model.backbone
    if backbone.block == "basic":
        return f"use it:  fcis train --weights {target} ..., with a recipe of this backbone"
    settings = ""
    if backbone.depths != (3, 4, 23, 3):
        settings += f" --set backbone.depths={str(list(backbone.depths)).replace(' ', '')}"
    if backbone.variant != "v1":
        settings += f" --set backbone.variant={backbone.variant}"
    return (
        f"use it:  fcis train --train DATA --val DATA --recipe {_RECIPE}{settings} "
        f"--weights {target}"
    )


def _left_out(reason: str, records: list[ArrayRecord]) -> str:
    names = ", ".join(record.source for record in records[:2])
    more = f" and {len(records) - 2} more" if len(records) > 2 else ""
    return f"{names}{more}: {reason}"
