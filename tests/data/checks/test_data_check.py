"""`fcis.check_dataset` and `fcis data check` say and write the same of data with faults."""

import json

import pytest

import fcis as package
from fcis.core.errors import InputError
from fcis.recipe.named import named_recipe


@pytest.fixture
def faulty(annotate, tmp_path):
    """A file with an object of no image, and nine of the same place."""

    def plant(data):
        (first, _) = data["annotations"]
        small = [[40, 40, 44, 40, 44, 44, 40, 44]]
        data["annotations"] += [first | {"id": n} for n in range(20, 29)]
        data["annotations"] += [
            first | {"id": 30, "image_id": 99},
            first | {"id": 31, "segmentation": small, "bbox": [40, 40, 4, 4], "area": 16},
        ]

    return annotate(tmp_path / "data", plant)


@pytest.fixture
def val(annotate, tmp_path):
    """The same images under other names."""
    return annotate(tmp_path / "val", ids=(1, 2))


@pytest.mark.parametrize("listed", [5, None])
def test_lines_and_json(fcis, faulty, val, tmp_path, listed):
    out = tmp_path / "findings.json"
    everything = [] if listed else ["--all"]
    code, text, _ = fcis("data", "check", faulty, "--val", val, *everything)
    assert fcis("data", "check", faulty, "--val", val, "--json", out)[0] == code == 2
    found = package.check_dataset(faulty, val=str(val))
    assert found.summary(listed) + "\n" == text
    assert found.to_json() == json.loads(out.read_text())
    kinds = {finding["kind"] for finding in found.to_json()["findings"]}
    assert {"unknown-image", "duplicate-object", "in-train-and-val"} <= kinds
    assert ("more; --all" in text) == bool(listed)


def test_a_corrected_copy(fcis, faulty, tmp_path):
    assert fcis("data", "check", faulty, "--fix", tmp_path / "one")[0] == 0
    found = package.check_dataset(str(faulty))
    opened = found.write_copy(str(tmp_path / "two"))
    assert len(package.open_dataset(opened)) == 2
    files = [
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")}
        for n in ("one", "two")
    ]
    assert len(files[0]) == 4 and files[0] == files[1]
    with pytest.raises(InputError, match=r"--fix .*: is there already"):
        found.write_copy(tmp_path / "two")


def test_the_recipe_tells_what_is_small(fcis, faulty, tmp_path):
    out = tmp_path / "findings.json"
    fcis("data", "check", faulty, "--recipe", "tiny", "--json", out)
    expected = json.loads(out.read_text())
    for recipe in ("tiny", named_recipe("tiny")):
        assert package.check_dataset(faulty, recipe=recipe).to_json() == expected
    assert package.check_dataset(faulty).to_json() != expected


def test_what_makes_no_sense_is_refused(refused, faulty, tmp_path):
    with pytest.raises(InputError) as error:
        package.check_dataset(faulty, val_images=tmp_path)
    message = refused("data", "check", faulty, "--val-images", tmp_path)
    assert message == f"fcis: {error.value}\n"
    for bad in ({"recipe": "none"}, {"val": "none"}):
        with pytest.raises(InputError, match="none: no such"):
            package.check_dataset(faulty, **bad)
