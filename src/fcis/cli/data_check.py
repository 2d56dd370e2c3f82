"""`fcis data check`: what is wrong with a dataset, and a copy of it without that."""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fcis.cli.common import check_file, progress, write_json
from fcis.cli.train import read_recipe
from fcis.core.errors import InputError
from fcis.data.checks.doctor import Diagnosis, diagnose
from fcis.data.checks.faults import SEVERITIES, Finding, Kind
from fcis.data.checks.image_check import ValImages
from fcis.data.checks.image_facts import look_at_all, same_content
from fcis.data.checks.raw import RawDataset, file_name, open_raw
from fcis.data.checks.repair import ANNOTATIONS, CHANGES, check_target, write_copy
from fcis.inference.preprocess import plan_resize
from fcis.recipe.types import Recipe

ERRORS_FOUND = 2
LISTED = 5  # findings of a kind that are shown without --all


def run(options: argparse.Namespace) -> int:
    """Print every fault and write what was asked for; 2 if there were errors and no copy."""
    if options.json is not None:
        check_file("--json", options.json)
    if options.fix is not None:
        check_target(options.fix)
    if options.val_images is not None and options.val is None:
        raise InputError(f"--val-images {options.val_images}: is for --val; leave it out")
    factor_of = _factor_of(read_recipe(options.recipe)) if options.recipe is not None else None
    raw = open_raw(options.data, options.images)
    val = None
    if options.val is not None:
        val = _compare(raw, open_raw(options.val, options.val_images))
    looks = look_at_all(raw.sources)
    facts = list(progress(looks, total=len(raw.sources), what="checking"))
    diagnosis = diagnose(raw, facts, val=val, factor_of=factor_of)
    print(_header(raw))
    print("\n".join(_lines(diagnosis.findings, None if options.all else LISTED)), end="")
    if options.json is not None:
        write_json(options.json, to_json(raw, diagnosis))
        print(f"findings: {options.json}")
    if options.fix is not None:
        copies = write_copy(raw, diagnosis, options.fix)
        for _ in progress(copies, total=len(diagnosis.frames), what="copying"):
            pass
        print("\n".join(_changes(raw, diagnosis, options.fix)))
    print(_summary(raw, diagnosis, options.fix))
    return ERRORS_FOUND if diagnosis.count("error") and options.fix is None else 0


def to_json(raw: RawDataset, diagnosis: Diagnosis) -> dict[str, object]:
    """Return all findings as `--json` writes them."""
    return {
        "data": raw.name,
        "images": len(raw.images),
        "annotations": len(raw.annotations),
        "categories": len(raw.categories),
        **{f"{severity}s": diagnosis.count(severity) for severity in SEVERITIES},
        "findings": [
            {
                "kind": finding.kind.name,
                "severity": finding.kind.severity,
                "image_id": finding.image_id,
                "file_name": finding.file_name or None,
                "annotation_id": finding.annotation_id,
                "text": str(finding),
                "remedy": finding.kind.remedy,
                "fix": finding.repair,
            }
            for finding in diagnosis.findings
        ],
    }


def _factor_of(recipe: Recipe) -> Callable[[tuple[int, int]], float]:
    """Return by how much a recipe's network enlarges an image of (height, width)."""
    model = recipe.model
    return lambda size: plan_resize(size, model.preprocessing, model.conventions).factors[0]


def _compare(raw: RawDataset, val: RawDataset) -> ValImages:
    """Return which images the validation set has too."""
    names = [
        file_name(entry.get("file_name")) if isinstance(entry, dict) else None
        for entry in val.images
    ]
    same = same_content(raw.sources, val.sources)
    return ValImages(
        same={index: names[other] or "an image without a name" for index, other in same.items()},
        names=frozenset(name for name in names if name),
    )


def _header(raw: RawDataset) -> str:
    images, objects, categories = map(len, (raw.images, raw.annotations, raw.categories))
    return f"{raw.name}: {images} images, {objects} annotations, {categories} categories"


def _lines(findings: Sequence[Finding], listed: int | None) -> Iterable[str]:
    """Yield the findings kind by kind, the worst first, a line each."""
    for severity in SEVERITIES:
        kinds = dict.fromkeys(f.kind for f in findings if f.kind.severity == severity)
        for kind in kinds:
            found = [finding for finding in findings if finding.kind is kind]
            yield f"{severity} {kind.name} ({len(found)}): {kind.meaning}; {kind.remedy}"
            yield from (f"  {finding}" for finding in found[:listed])
            if listed is not None and len(found) > listed:
                yield f"  ... and {len(found) - listed} more; --all lists them"
    yield ""  # so that the block ends its last line


def _changes(raw: RawDataset, diagnosis: Diagnosis, out: Path) -> Iterable[str]:
    """Yield what became of each kind of fault, and by name what the copy lacks."""
    yield f"corrected copy: {out / ANNOTATIONS}"
    done: Counter[tuple[Kind, str]] = Counter()
    for finding in diagnosis.findings:
        if finding.repair != "left as it is":
            done[finding.kind, "dropped" if finding.is_loss else "repaired"] += 1
    yield from (f"  {kind.name}: {count} {what}" for (kind, what), count in done.items())
    lost = [finding for finding in diagnosis.findings if finding.is_loss]
    yield from (f"  {finding.where}: {finding.repair} ({finding.kind.name})" for finding in lost)
    images, objects = len(diagnosis.frames), len(diagnosis.annotations)
    yield (
        f"  left: {images} of {len(raw.images)} images, {objects} of {len(raw.annotations)} "
        f"annotations; every change: {out / CHANGES}"
    )


def _summary(raw: RawDataset, diagnosis: Diagnosis, fixed: Path | None) -> str:
    """Return the last line."""
    errors, warnings, notes = (diagnosis.count(severity) for severity in SEVERITIES)
    counted = [(errors, "error"), (warnings, "warning"), (notes, "note")]
    counts = [f"{count} {what}{'s' * (count != 1)}" for count, what in counted if count]
    if not errors and not warnings:
        counts.insert(0, "nothing wrong")
    remedy = ""
    if fixed is not None:
        remedy = f"; corrected copy: {fixed / ANNOTATIONS}"
    elif errors:
        remedy = "; --fix OUT writes a corrected copy"
    return f"{raw.name}: {', '.join(counts)}{remedy}"
