"""What a check has found -> lines for people, and JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from fcis.data.checks.check import Checked
from fcis.data.checks.faults import SEVERITIES, Dropped, Finding, Kept, Kind
from fcis.data.checks.repair import CHANGES

LISTED = 5
"""Findings of a kind that are shown where not all are asked for."""


def findings_json(data: str, checked: Checked) -> dict[str, object]:
    """Return all findings as `--json` writes them."""
    images, objects, categories = checked.counts
    return {
        "data": data,
        "images": images,
        "annotations": objects,
        "categories": categories,
        **{f"{severity}s": checked.count(severity) for severity in SEVERITIES},
        "findings": [
            {
                "kind": finding.kind.name,
                "severity": finding.kind.severity,
                "image_id": finding.image_id,
                "file_name": finding.file_name or None,
                "annotation_id": finding.annotation_id,
                "text": str(finding),
                "remedy": finding.kind.remedy,
                "fix": str(finding.fix),
            }
            for finding in checked.findings
        ],
    }


def header(data: str, checked: Checked) -> str:
    """Return the first line: what there is."""
    images, objects, categories = checked.counts
    return f"{data}: {images} images, {objects} annotations, {categories} categories"


def finding_lines(findings: Sequence[Finding], listed: int | None) -> Iterable[str]:
    """Yield the findings kind by kind, the worst first, a line each.

    Args:
        findings: of a check.
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


def change_lines(checked: Checked, copy: Path, out: Path) -> Iterable[str]:
    """Yield what became of each kind of fault, and by name what the copy in a folder lacks."""
    yield f"corrected copy: {copy}"
    lost = [finding for finding in checked.findings if isinstance(finding.fix, Dropped)]
    done: Counter[tuple[Kind, str]] = Counter(
        (finding.kind, "dropped" if isinstance(finding.fix, Dropped) else "repaired")
        for finding in checked.findings
        if not isinstance(finding.fix, Kept)
    )
    yield from (f"  {kind.name}: {count} {what}" for (kind, what), count in done.items())
    yield from (f"  {finding.where}: {finding.fix} ({finding.kind.name})" for finding in lost)
    images, objects, _ = checked.counts
    left = checked.dataset.images
    yield (
        f"  left: {len(left)} of {images} images, {sum(len(i.annotations) for i in left)} of "
        f"{objects} annotations; every change: {out / CHANGES}"
    )


def last_line(data: str, checked: Checked, copy: Path | None) -> str:
    """Return the last line: how many faults there are, and the remedy.

    Args:
        data: how the user calls the dataset.
        checked: what was found in it.
        copy: opens a corrected copy, if one was written.
    """
    errors, warnings, notes = (checked.count(severity) for severity in SEVERITIES)
    counted = [(errors, "error"), (warnings, "warning"), (notes, "note")]
    counts = [f"{count} {what}{'s' * (count != 1)}" for count, what in counted if count]
    if not errors and not warnings:
        counts.insert(0, "nothing wrong")
    remedy = ""
    if copy is not None:
        remedy = f"; corrected copy: {copy}"
    elif errors:
        remedy = "; --fix OUT writes a corrected copy"
    return f"{data}: {', '.join(counts)}{remedy}"
