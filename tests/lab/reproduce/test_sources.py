"""What `--data` may name."""

import json

import pytest

from fcis.core.errors import InputError
from fcis.lab.reproduce.sources import addresses, open_sources


@pytest.mark.parametrize(
    ("data", "train", "val"),
    [
        ("scenes", "scenes:1000:0", "scenes:200:1"),
        ("scenes:40", "scenes:40:0", "scenes:8:1"),
        ("scenes:4:7", "scenes:4:7", "scenes:2:8"),
        ("scenes:5000:3:apart", "scenes:5000:3:apart", "scenes:200:4:apart"),
        ("scenes:4:7,scenes:3:9", "scenes:4:7", "scenes:3:9"),
        ("a.json,b.json", "a.json", "b.json"),
    ],
)
def test_addresses(data, train, val):
    assert addresses(data) == (train, val)


def test_a_folder_has_both_files(tmp_path):
    for name in ("train", "val"):
        (tmp_path / f"{name}.json").write_text("{}")
    found = addresses(str(tmp_path))
    assert found == (str(tmp_path / "train.json"), str(tmp_path / "val.json"))


@pytest.mark.parametrize("data", ["", "scenes:x", "scenes:", "train.json", "a,", ",b", "a,b,c"])
def test_anything_else_is_refused(data):
    with pytest.raises(InputError, match=r"--data.*expected .*train\.json and val\.json"):
        addresses(data)


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no train\.json and no val\.json; give"):
        addresses(str(tmp_path))
    (tmp_path / "train.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match=r"the folder has no val\.json; give"):
        addresses(str(tmp_path))


def test_training_and_validation_scenes_differ():
    sources = open_sources("scenes:4:7")
    assert (len(sources.train), len(sources.val), sources.is_scenes) == (4, 2, True)
    assert {str(r.source) for r in sources.train.images}.isdisjoint(
        str(r.source) for r in sources.val.images
    )
    with pytest.raises(InputError, match="both have seed 1"):
        open_sources("scenes:4:1,scenes:2:1")


def test_other_data_is_no_scenes(shared):
    sources = open_sources(str(shared / "data" / "nuclei"))
    assert (len(sources.train), len(sources.val), sources.is_scenes) == (435, 53, False)
