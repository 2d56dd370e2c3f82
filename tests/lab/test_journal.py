"""Lines that are written once, read again, and refused when they belong to something else."""

import json

import pytest

from fcis.core.errors import InputError
from fcis.lab.journal import Journal, fingerprint

KEY = {"kind": "row", "name": "fcis", "seed": 1}
LINE = KEY | {"settings": "ab", "AP": 0.25, "rows": (1, 2)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "runs.jsonl"


def test_lines_come_back(path):
    journal = Journal(path)
    assert journal.find(KEY) is None
    added = journal.add(LINE)
    assert added == LINE | {"rows": [1, 2]} and journal.lines == [added]
    again = Journal(path)
    assert again.lines == [added]
    assert again.find(KEY, "ab") == again.find({"rows": (1, 2)}) == added
    assert again.find(KEY | {"seed": 0}) is None
    assert again.find(KEY | {"other": None}) is None


def test_the_last_line_counts(path):
    journal = Journal(path)
    journal.add(LINE)
    later = journal.add(LINE | {"AP": 0.5})
    assert Journal(path).find(KEY) == later


def test_what_was_there_stays_byte_for_byte(path):
    path.parent.mkdir()
    known = b'{"a":1, "b": "\\u00e9"}\n{"a": 1e-3}\n'
    path.write_bytes(known)
    first, second = Journal(path), Journal(path)
    first.add({"c": 1})
    second.add({"c": 2})
    assert path.read_bytes() == known + b'{"c": 1}\n{"c": 2}\n'


def test_an_interrupted_write_leaves_what_was_there(path, monkeypatch):
    journal = Journal(path)
    journal.add(LINE)
    before = path.read_bytes()

    def interrupt(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        journal.add(LINE)
    assert path.read_bytes() == before and len(journal.lines) == 1


def test_other_settings_are_refused(path):
    journal = Journal(path)
    journal.add(LINE)
    with pytest.raises(InputError, match="fcis, seed 1 was made with another recipe, budget or"):
        journal.find(KEY, "cd")


@pytest.mark.parametrize("text", ["{", "[]", "3", json.dumps({"kind": "row", "name": "a"})])
def test_damaged_lines_are_named(path, text):
    Journal(path).add(LINE)
    with path.open("a") as file:
        file.write(text + "\n")
    with pytest.raises(InputError, match="line 2: damaged; delete this line"):
        Journal(path, ("kind", "name", "seed"))


def test_a_file_that_is_no_text_is_refused(path):
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="cannot be read"):
        Journal(path)


def test_fingerprints_see_every_value():
    assert fingerprint({"a": 1, "b": [2.5]}) == fingerprint({"b": [2.5], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint(1, 2) != fingerprint(2, 1)
