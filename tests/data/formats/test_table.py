import pytest

from fcis.core.errors import InputError
from fcis.data.checks.raw import RawDataset
from fcis.data.dataset import Category
from fcis.data.formats import table
from fcis.data.formats.table import FORMATS, Format, open_format


@pytest.fixture
def calls(monkeypatch):
    """Two formats of files, by their suffixes, that note what they are read with."""
    noted = []

    def reader(*path_and_split, **options):
        noted.append((path_and_split, options))
        return RawDataset(name="d", categories=(Category(id=1, name="cell"),), images=())

    rows = (
        Format(
            about="an a",
            recognise=lambda path: path.suffix == ".a",
            read=reader,
            has_splits=True,
            may_lack_annotations=True,
        ),
        Format(about="a b", recognise=lambda path: path.suffix in (".a", ".b"), read=reader),
    )
    monkeypatch.setattr(table, "FORMATS", rows)
    return noted


def test_the_first_format_that_recognises_a_path_reads_it(calls, tmp_path):
    first, second = tmp_path / "x.a", tmp_path / "x.b"
    assert open_format(first, "val", require_annotations=False).name == "d"
    assert open_format(second, None, require_annotations=False).name == "d"
    assert open_format(tmp_path / "x.c", None, require_annotations=True) is None
    assert calls == [((first, "val"), {"require_annotations": False}), ((second,), {})]


def test_splits_of_what_has_none_are_refused(calls, tmp_path):
    with pytest.raises(InputError, match=r"x\.b:val: a b has no splits"):
        open_format(tmp_path / "x.b", "val", require_annotations=True)
    assert not calls


def test_no_format_takes_an_empty_folder(tmp_path):
    assert not [each.about for each in FORMATS if each.recognise(tmp_path)]
