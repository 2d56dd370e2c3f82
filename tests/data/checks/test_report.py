"""Findings as lines and JSON; whole outputs are tested with `fcis data check`."""

import json

import pytest

from fcis.data.checks.check import check
from fcis.data.checks.report import (
    change_lines,
    finding_lines,
    findings_json,
    header,
    last_line,
)
from fcis.data.formats.coco import raw_coco

SQUARE = [[2, 3, 12, 3, 12, 13, 2, 13]]


def annotation(id, **changes):
    return {
        "id": id, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 10], "area": 100,
        "segmentation": SQUARE, **changes,
    }  # fmt: skip


@pytest.fixture
def checked(save, tmp_path):
    """Return a check of one good object, three boxes of none, and one of no image."""
    annotations = [annotation(1), annotation(2, image_id=9)]
    for id in (3, 4, 5):
        outline = [[x + id, y] for x, y in zip(SQUARE[0][::2], SQUARE[0][1::2], strict=True)]
        flat = [value for point in outline for value in point]
        annotations.append(annotation(id, bbox=[id, 3, 0, 10], segmentation=[flat]))
    save(tmp_path / "a.png", 20, 30)
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "x.json").write_text(json.dumps(document))
    return check(raw_coco(tmp_path / "x.json"))


def test_lines(checked, tmp_path):
    assert header("x.json", checked) == "x.json: 1 images, 5 annotations, 1 categories"
    lines = list(finding_lines(checked.findings, 2))
    (first,) = (n for n, line in enumerate(lines) if line.startswith("error bad-box (3): "))
    assert lines[first + 1].startswith("  annotation 3 (image 1, a.png) has the box [3, 3, 0, 10]")
    assert lines[first + 3] == "  ... and 1 more; --all lists them"
    assert len(list(finding_lines(checked.findings, None))) == len(lines)
    changes = list(change_lines(checked, tmp_path / "annotations.json", tmp_path))
    assert changes[0] == f"corrected copy: {tmp_path / 'annotations.json'}"
    assert "  bad-box: 3 repaired" in changes and "  unknown-image: 1 dropped" in changes
    assert changes[-1].startswith("  left: 1 of 1 images, 4 of 5 annotations; every change: ")


def test_the_last_line(checked, tmp_path):
    text = last_line("x.json", checked, None)
    assert text == "x.json: 4 errors; --fix OUT writes a corrected copy"
    path = tmp_path / "annotations.json"
    assert last_line("x.json", checked, path) == f"x.json: 4 errors; corrected copy: {path}"


def test_json(checked):
    data = findings_json("x.json", checked)
    assert (data["data"], data["images"], data["annotations"]) == ("x.json", 1, 5)
    assert (data["errors"], data["warnings"], data["notes"]) == (4, 0, 0)
    (lost,) = (f for f in data["findings"] if f["kind"] == "unknown-image")
    assert lost["annotation_id"] == 2 and lost["fix"] == "dropped" and lost["file_name"] is None
