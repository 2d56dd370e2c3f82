"""What is refused for a training, and what is let pass."""

import warnings

import pytest
from tests.data.checks.raws import image, raw_with, square

from fcis.core.errors import InputError
from fcis.data.checks import faults, limits
from fcis.data.checks.check import FaultsFound, check, refuse
from fcis.data.checks.faults import Finding, Problem
from fcis.data.dataset import FileSource


def test_the_first_finding_is_refused_with_the_number_of_others():
    raw = raw_with(
        image(square(1, area=-1, bbox=[1]), square(7), square(8, category_id=3)), prefix="f: "
    )
    with pytest.raises(FaultsFound) as error:
        refuse(raw)
    assert str(error.value) == (
        "f: object 1 has the box [1]; use [x, y, width, height] (and 1 more such problem)"
    )
    assert isinstance(error.value, InputError)
    listed = Finding(where="object 3", problem=Problem(faults.BAD_IMAGE, "is none"))
    with pytest.raises(FaultsFound, match=r"^object 3 is none; give each an id"):
        refuse(raw_with(image(square(1)), findings=(listed,)))


def test_what_a_training_can_use_is_not_refused():
    wide = [[1, 3, 36, 3, 36, 13, 1, 13], [4, 4, 5, 5, 6, 6]]
    raw = raw_with(image(square(1, bbox=[1, 3, 25, 10], area=900, segmentation=wide)))
    (record,) = refuse(raw).images
    assert [part.tolist() for part in record.annotations[0].mask.parts] == wide
    kinds = {finding.kind for finding in check(raw).findings}
    assert kinds >= {faults.OUTSIDE_MASK, faults.FLAT_POLYGON, faults.AREA_MASK}


def test_objects_without_a_pixel_are_left_out_with_a_warning_if_they_are_few(monkeypatch):
    empty = square(8, segmentation=[[1, 1, 9, 1, 5, 1]], bbox=[1, 1, 8, 0])
    raw = raw_with(image(square(1), empty), empty="outlines")
    with pytest.warns(UserWarning, match=r"^x: 1 outlines are left out; the first: object 8$"):
        assert len(refuse(raw).images[0].annotations) == 1
    raw = raw_with(image(square(1), empty), tolerated_empty=limits.TOLERATED_EMPTY)
    with pytest.raises(FaultsFound, match=r"^object 8 has the box \[1, 1, 8, 0\], whose width"):
        refuse(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refuse(raw_with(image(square(1))))


def test_missing_images_are_a_wrong_folder(save, tmp_path):
    good = FileSource(path=save(tmp_path / "a.png", 20, 30))
    bad = FileSource(path=tmp_path / "b.png")
    folders = (tmp_path, tmp_path / "images")
    raw = raw_with(image(source=good), image(id=2, source=bad), looked_in=folders)
    text = f"1 of 2 image files are missing, the first is 2.png (looked in {tmp_path}); name the"
    with pytest.raises(FaultsFound) as error:
        refuse(raw)
    assert str(error.value).startswith(text)
    with pytest.raises(FaultsFound) as error:
        refuse(raw_with(image(source=bad), looked_in=folders))
    assert f"(looked in {tmp_path}, {tmp_path / 'images'})" in str(error.value)
