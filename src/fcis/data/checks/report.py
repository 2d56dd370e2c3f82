"""What a check has found -> lines for people, and JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from fcis.data.checks.doctor import Diagnosis
from fcis.data.checks.faults import SEVERITIES, Finding, Kind
from fcis.data.checks.raw import RawDataset
from fcis.data.checks.repair import ANNOTATIONS, CHANGES


def findings_json(raw: RawDataset, diagnosis: Diagnosis) -> dict[str, object]:
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


def header(raw: RawDataset) -> str:
    """Return the first line: what there is."""
    images, objects, categories = map(len, (raw.images, raw.annotations, raw.categories))
    return f"{raw.name}: {images} images, {objects} annotations, {categories} categories"


def finding_lines(findings: Sequence[Finding], listed: int | None) -> Iterable[str]:
    """Yield the findings kind by kind, the worst first, a line each.

    Args:
        findings: of a diagnosis.
        listed: how many of a kind; None: all.
    """
    for severity in SEVERITIES:
        kinds = dict.fromkeys(f.kind for f in findings if f.kind.severity == severity)
        for kind in kinds:
            found = [finding for finding in findings if finding.kind is kind]
            yield f"{severity} {kind.name} ({len(found)}): {kind.meaning}; {kind.remedy}"
            yield from (f"  {finding}" for finding in found[:listed])
            if listed is not None and len(found) > listed:
                yield f"  ... and {len(found) - listed} more; --all lists them"


def change_lines(raw: RawDataset, diagnosis: Diagnosis, out: Path) -> Iterable[str]:
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


def last_line(raw: RawDataset, diagnosis: Diagnosis, fixed: Path | None) -> str:
    """Return the last line: how many faults there are, and the remedy.

    Args:
        raw: the dataset.
        diagnosis: of it.
        fixed: folder of a corrected copy, if one was written.
    """
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
