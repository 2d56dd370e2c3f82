"""Lines that are written once, read again, and refused when they belong to something else."""

import json

import pytest

from fcis.core.errors import InputError
from fcis.lab.reproduce.journal import JOURNAL, Journal, Line, fingerprint


@pytest.fixture
def line():
    return Line(kind="row", name="fcis", seed=1, settings="ab", facts={"AP": 0.25, "at": "now"})


def test_lines_come_back(tmp_path, line):
    journal = Journal(tmp_path)
    assert journal.find("row", "fcis", 1, "ab") is None
    journal.add(line)
    again = Journal(tmp_path)
    assert again.find("row", "fcis", 1, "ab") == line
    assert again.find("row", "fcis", 0, "ab") is None
    assert again.find("training", "fcis", 1, "ab") is None
    assert (line.number("AP"), line.number("at"), line.number("none")) == (0.25, None, None)


def test_the_last_line_counts(tmp_path, line):
    journal = Journal(tmp_path)
    journal.add(line)
    later = Line(kind="row", name="fcis", seed=1, settings="ab", facts={"AP": 0.5})
    journal.add(later)
    assert Journal(tmp_path).find("row", "fcis", 1, "ab") == later
    assert (tmp_path / JOURNAL).read_text().count("\n") == 2


def test_other_settings_are_refused(tmp_path, line):
    journal = Journal(tmp_path)
    journal.add(line)
    with pytest.raises(InputError, match="fcis, seed 1 was made with another recipe, budget or"):
        journal.find("row", "fcis", 1, "cd")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        json.dumps({"kind": "row", "name": "a", "seed": 0}),
        json.dumps({"kind": "row", "name": "a", "seed": "0", "settings": "x"}),
        json.dumps({"kind": "else", "name": "a", "seed": 0, "settings": "x"}),
    ],
)
def test_damaged_lines_are_named(tmp_path, line, text):
    Journal(tmp_path).add(line)
    with (tmp_path / JOURNAL).open("a") as file:
        file.write(text + "\n")
    with pytest.raises(InputError, match="line 2: damaged; delete this line"):
        Journal(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / JOURNAL).write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="cannot be read"):
        Journal(tmp_path)


def test_fingerprints_see_every_value():
    assert fingerprint({"a": 1, "b": [2.5]}) == fingerprint({"b": [2.5], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint(1, 2) != fingerprint(2, 1)
