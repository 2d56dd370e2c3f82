"""The table of published weights, and whether the documentation says the same."""

import re
import shlex
from pathlib import Path, PurePosixPath

import pytest

from fcis.cli.main import build_parser
from fcis.core.errors import InputError
from fcis.recipe.conventions import CONVENTIONS
from fcis.weights import published
from fcis.weights.published import BASE, PUBLISHED, address_of

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")


def test_names():
    assert list(PUBLISHED) == ["coco", "voc", "coco-chainercv", "voc-chainercv"]
    assert all(entry.name == name for name, entry in PUBLISHED.items())


@pytest.mark.parametrize("entry", PUBLISHED.values(), ids=str)
def test_entries(entry):
    assert PurePosixPath(entry.file).name == entry.file, "would leave the cache"
    assert re.fullmatch(
        r"fcis_resnet101_(coco|sbd)_(converted|trained)_\d{4}(_\d\d){2}\.npz", entry.file
    )
    assert entry.conventions in CONVENTIONS
    assert entry.conventions == ("chainercv" if "_trained_" in entry.file else "release")
    assert entry.name.startswith("coco") == ("_coco_" in entry.file)
    # the arrays alone are 221 MiB (COCO) and 198 MiB (VOC)
    assert 250 * 2**20 < entry.limit < 2**30
    assert entry.sha256 == "" or re.fullmatch("[0-9a-f]{64}", entry.sha256)


def test_addresses(monkeypatch):
    monkeypatch.delenv("FCIS_WEIGHTS_URL", raising=False)
    assert address_of(PUBLISHED["voc-chainercv"]) == (
        "https://chainercv-models.preferred.jp/fcis_resnet101_sbd_trained_2018_06_22.npz"
    )
    for mirror in ("http://localhost:8000/fcis", "http://localhost:8000/fcis/"):
        monkeypatch.setenv("FCIS_WEIGHTS_URL", mirror)
        assert address_of(PUBLISHED["coco"]) == (
            "http://localhost:8000/fcis/fcis_resnet101_coco_converted_2019_01_30.npz"
        )
    monkeypatch.setenv("FCIS_WEIGHTS_URL", "")
    assert address_of(PUBLISHED["coco"]).startswith(f"{BASE}/")


@pytest.mark.parametrize("mirror", ["file:///weights", "weights", "ftp://a"])
def test_mirrors_that_are_none(monkeypatch, mirror):
    monkeypatch.setenv("FCIS_WEIGHTS_URL", mirror)
    with pytest.raises(InputError, match=f"^FCIS_WEIGHTS_URL={mirror}: expected the http or https"):
        address_of(PUBLISHED["coco"])


# --- docs/weights.md ------------------------------------------------------------------------


def rows(heading):
    """The rows of the table below a heading, as lists of cells without code marks."""
    section = DOCS.split(f"# {heading}\n")[1].split("\n##")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_docs_name_every_file():
    assert BASE in DOCS
    found = {row[0]: row for row in rows("Published files")}
    for entry in PUBLISHED.values():
        assert found[entry.name][1] == entry.file
        assert found[entry.name][3] == entry.conventions
    for name in (published.RELEASED_COCO, published.RELEASED_IMAGENET):
        assert f"`{name}`" in DOCS
    for address in (published.RELEASED_COCO_ADDRESS, published.RELEASED_IMAGENET_ADDRESS):
        assert address in DOCS


def test_docs_state_the_conventions_as_they_are():
    found = rows("Three sets of conventions")
    assert len(found) > 15
    for field, _, *values in found:
        sets = [CONVENTIONS[name] for name in ("release", "chainercv", "paper")]
        assert values == [str(one[field]) for one in sets], field
        assert len(set(values)) > 1, field


def test_commands_of_the_docs_parse():
    commands = re.findall(r"^    (fcis .*)$", DOCS, re.MULTILINE)
    assert len(commands) > 8
    for command in commands:
        options = build_parser().parse_args(shlex.split(command)[1:])
        assert options.command == command.split()[1]
