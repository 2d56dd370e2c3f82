"""Findings as lines and JSON; whole outputs are tested with `fcis data check`."""

import pytest

from fcis.data.checks.doctor import diagnose
from fcis.data.checks.image_facts import ImageFacts
from fcis.data.checks.raw import RawDataset
from fcis.data.checks.report import (
    change_lines,
    finding_lines,
    findings_json,
    header,
    last_line,
)

SQUARE = [[2, 3, 12, 3, 12, 13, 2, 13]]


def annotation(id, **changes):
    return {
        "id": id, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 10], "area": 100,
        "segmentation": SQUARE, **changes,
    }  # fmt: skip


@pytest.fixture
def checked():
    """Return a dataset and its diagnosis: one good object, three boxes of none, a lost image."""
    annotations = [annotation(1), annotation(2, image_id=9)]
    for id in (3, 4, 5):
        outline = [[x + id, y] for x, y in zip(SQUARE[0][::2], SQUARE[0][1::2], strict=True)]
        flat = [value for point in outline for value in point]
        annotations.append(annotation(id, bbox=[id, 3, 0, 10], segmentation=[flat]))
    raw = RawDataset(
        name="x.json",
        document={},
        images=[{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        annotations=annotations,
        categories=[{"id": 1, "name": "cell"}],
        sources=(None,),
    )
    return raw, diagnose(raw, [ImageFacts(size=(20, 30), stored=(20, 30))])


def test_lines(checked, tmp_path):
    raw, diagnosis = checked
    assert header(raw) == "x.json: 1 images, 5 annotations, 1 categories"
    lines = list(finding_lines(diagnosis.findings, 2))
    (first,) = (n for n, line in enumerate(lines) if line.startswith("error bad-box (3): "))
    assert lines[first + 1].startswith("  annotation 3 (image 1, a.png) has the box [3, 3, 0, 10]")
    assert lines[first + 3] == "  ... and 1 more; --all lists them"
    assert len(list(finding_lines(diagnosis.findings, None))) == len(lines)
    changes = list(change_lines(raw, diagnosis, tmp_path))
    assert changes[0] == f"corrected copy: {tmp_path / 'annotations.json'}"
    assert "  bad-box: 3 repaired" in changes and "  unknown-image: 1 dropped" in changes
    assert changes[-1].startswith("  left: 1 of 1 images, 4 of 5 annotations; every change: ")


def test_the_last_line(checked, tmp_path):
    raw, diagnosis = checked
    assert last_line(raw, diagnosis, None) == "x.json: 4 errors; --fix OUT writes a corrected copy"
    path = tmp_path / "annotations.json"
    assert last_line(raw, diagnosis, tmp_path) == f"x.json: 4 errors; corrected copy: {path}"


def test_json(checked):
    data = findings_json(*checked)
    assert (data["data"], data["images"], data["annotations"]) == ("x.json", 1, 5)
    assert (data["errors"], data["warnings"], data["notes"]) == (4, 0, 0)
    (lost,) = (f for f in data["findings"] if f["kind"] == "unknown-image")
    assert lost["annotation_id"] == 2 and lost["fix"] == "dropped" and lost["file_name"] is None
