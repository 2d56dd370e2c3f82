"""What `fcis train` checks in a moment: what stops it, what it warns of, and what is let pass."""

import json
import warnings

import pytest

from fcis.core.errors import InputError
from fcis.data.checks.before_training import check_before_training, open_for_training


def halves(annotate, tmp_path, change=lambda data: None):
    """Write a training and a validation set of the same categories; return their paths."""
    train = annotate(tmp_path / "train", change, names=["thing"])
    return str(train), str(annotate(tmp_path / "val", names=["thing"]))


def check(train, val, images=(None, None)):
    """Return the warnings of a check."""
    sets = [
        open_for_training(data, folder) for data, folder in zip((train, val), images, strict=True)
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_before_training(train, sets[0], val, sets[1], images=images)
    return [str(w.message) for w in caught]


def test_nothing_to_say(annotate, tmp_path):
    train, val = halves(annotate, tmp_path)
    assert check(train, val) == [] == check(train, train) == check("scenes:64:1", "scenes:64:2")


def test_unused_categories_are_warned_of_once(annotate, tmp_path):
    train = str(annotate(tmp_path / "train"))
    val = str(annotate(tmp_path / "val"))
    assert check(train, val) == [
        f"{train}: categories without an object: category 2 (square), category 3 (triangle), "
        "category 4 (star), category 5 (ring), category 6 (cross) and 2 more; annotate some, or "
        "remove the categories"
    ]


def test_sizes_stop_the_training(annotate, tmp_path):
    def change(data):
        for image in data["images"]:
            image["width"] = 65

    train, val = halves(annotate, tmp_path, change)
    with pytest.raises(InputError) as error:
        check(train, val)
    assert str(error.value) == (
        f"{train}: image 7 (0.png) is 64 x 48 (width x height), but the dataset says 65 x 48 (and "
        f"1 more such problem); see all that is wrong with `fcis data check {train} --val {val}`; "
        "--fix OUT writes a corrected copy"
    )
    with pytest.raises(InputError) as error:
        check(val, train)
    assert str(error.value).startswith(f"{train}: image 7 (0.png) is 64 x 48")
    assert f"`fcis data check {train}`;" in str(error.value)


def test_files_that_are_trained_and_validated_on(annotate, tmp_path):
    train = annotate(tmp_path, names=["thing"])
    data = json.loads(train.read_text())
    data["images"], data["annotations"] = data["images"][1:], data["annotations"][1:]
    val = tmp_path / "val.json"
    val.write_text(json.dumps(data))
    folder = tmp_path / "images"
    with pytest.raises(InputError) as error:
        check(str(train), str(val), (folder, folder))
    assert str(error.value) == (
        f"{train}: image 9 (1.png) is in the validation set too, as 1.png; see all that is wrong "
        f"with `fcis data check {train} --images {folder} --val {val} --val-images {folder}`; "
        "--fix OUT writes a corrected copy"
    )


def test_a_file_that_the_reader_refuses(annotate, tmp_path):
    def change(data):
        data["annotations"][0]["segmentation"] = [[1, 2]]

    train, _ = halves(annotate, tmp_path, change)
    with pytest.raises(InputError) as error:
        open_for_training(train, None)
    assert str(error.value) == (
        f"{train}: annotation 1 (image 7, 0.png) has a polygon of 1 points; it takes 3 or more: "
        f"correct or remove it; see all that is wrong with `fcis data check {train}`; --fix OUT "
        "writes a corrected copy"
    )
    for data in ("none.json", "scenes:0"):
        with pytest.raises(InputError) as error:
            open_for_training(data, None)
        assert "fcis data check" not in str(error.value)


def test_train_stops_before_it_begins(refused, annotate, tmp_path):
    def change(data):
        data["images"][0]["height"] = 64

    train, val = halves(annotate, tmp_path, change)
    out = tmp_path / "run"
    error = refused("train", "--train", train, "--val", val, "--recipe", "tiny", "--out", out)
    assert "image 7 (0.png) is 64 x 48" in error and f"`fcis data check {train}" in error
    assert not out.exists()
