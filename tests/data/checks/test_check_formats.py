"""`fcis data check` on every format with each kind of fault planted that it can have."""

import json
import re
from pathlib import Path

import pytest
from tests.data import planted_formats as planting

from fcis.core.errors import InputError
from fcis.data.checks import faults
from fcis.data.source import open_dataset

PAGE = Path(__file__).parents[3] / "docs" / "datasets.md"
KINDS = [value.name for value in vars(faults).values() if isinstance(value, faults.Kind)]
FORMATS = {
    "yolo": ("YOLO", "data.yaml"),
    "labelme": ("LabelMe", ""),
    "maps": ("a mask an image", ""),
    "objects": ("a mask an object", ""),
    "voc": ("VOC, SBD", "annotations.json"),
    "sbd": ("VOC, SBD", "annotations.json"),
    "cityscapes": ("Cityscapes", "annotations.json"),
}


@pytest.fixture
def plant(request, tmp_path):
    """Return a format with its faults."""

    def build(name):
        p = planting.Planted(tmp_path)
        makers = {"voc": "make_voc", "sbd": "make_sbd", "cityscapes": "make_cityscapes"}
        more = [request.getfixturevalue(makers[name])] if name in makers else []
        getattr(planting, f"plant_{name}")(p, *more)
        return p

    return build


def table():
    """Return the cells of the page: kind -> column -> text."""
    rows = re.findall(r"^\| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    head, _, *cells = ([cell.strip() for cell in row.split(" | ")] for row in rows)
    return {row[0].strip("`"): dict(zip(head[1:], row[1:], strict=True)) for row in cells}


def said_of(column):
    """Return the kinds that the page says a format can have."""
    return {
        kind for kind, cells in table().items() if cells[column] in ("repaired", "dropped", "told")
    }


def test_the_page_has_every_kind_and_no_empty_cell():
    found = table()
    assert list(found) == KINDS
    assert all(text for cells in found.values() for text in cells.values())
    assert said_of("COCO") == set(KINDS)
    assert {column for column, _ in FORMATS.values()} | {"COCO"} == set(found["bad-image"])


@pytest.mark.parametrize("name", FORMATS)
def test_every_planted_fault_is_found_and_the_copy_passes(fcis, plant, tmp_path, name):
    p, (column, opens) = plant(name), FORMATS[name]
    assert p.kinds == said_of(column)
    report, fixed = tmp_path / "findings.json", tmp_path / "fixed"
    code, out, err = fcis("data", "check", p.data, "--val", p.val, "--json", report, "--fix", fixed)
    assert code == 0, err
    findings = json.loads(report.read_text())["findings"]
    found = [(finding["kind"], finding["text"]) for finding in findings]
    for kind, text in p.expected:
        match = [each for each in found if each[0] == kind and text in each[1]]
        assert len(match) == 1 or (kind == "same-name" and match), (kind, text, found)
    assert {kind for kind, _ in found} == p.kinds
    copy = fixed / opens if opens else fixed
    assert f"corrected copy: {copy}" in out
    assert ("is only read" in out) == (opens == "annotations.json")
    with pytest.raises(InputError) as refusal:
        open_dataset(p.data)
    assert len(str(refusal.value).splitlines()) == 1
    code, again, _ = fcis("data", "check", copy, "--val", p.val)
    assert code == 0 and "\nerror " not in again, again
    assert len(open_dataset(str(copy))) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_the_copy_trains(fcis, plant, tmp_path, name):
    p, (_, opens) = plant(name), FORMATS[name]
    copy = tmp_path / "fixed" / opens
    assert fcis("data", "check", p.data, "--val", p.val, "--fix", tmp_path / "fixed")[0] == 0
    code, out, err = fcis(
        "train", "--train", copy, "--val", copy, "--recipe", "tiny", "--set", "steps=3",
        "--out", tmp_path / "run", "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert "best mask AP" in out
