import json

import numpy as np
import pytest

from fcis.core.errors import InputError
from fcis.core.masks import MaskCrop
from fcis.imaging.instances import Instances
from fcis.inference.results.jsonl import LineFile, Moment

NAMES, IDS = ("background", "cat", "dog"), (0, 17, 18)


def make(image_id, count=2):
    rng = np.random.default_rng(count)
    return Instances(
        size=(20, 30),
        scores=np.linspace(0.9, 0.3, count, dtype=np.float32),
        labels=np.arange(count) % 2 + 1,
        crops=tuple(MaskCrop(top=i, left=2, bits=rng.random((5, 4)) < 0.7) for i in range(count)),
        class_names=NAMES,
        category_ids=IDS,
        image_id=image_id,
        file_name="x.png",
    )


def test_a_line_an_image(tmp_path):
    path = tmp_path / "l.jsonl"
    lines = LineFile(path)
    lines.write(make("a"))
    assert path.read_bytes().endswith(b"\n")  # written at once
    lines.write(make("v/3", 0), Moment(frame=3, seconds=0.12))
    lines.close()
    first, second = map(json.loads, path.read_text().splitlines())
    assert second == {
        "image_id": "v/3", "file_name": "x.png", "height": 20, "width": 30, "frame": 3,
        "seconds": 0.12, "instances": [],
    }  # fmt: skip
    assert [i["category"] for i in first["instances"]] == ["cat", "dog"]
    assert [i["category_id"] for i in first["instances"]] == [17, 18]
    coco = make("a").to_coco()
    for line, entry in zip(first["instances"], coco, strict=True):
        for key in ("bbox", "score", "segmentation"):
            assert line[key] == entry[key]


def test_instances_come_back(tmp_path):
    lines = LineFile(tmp_path / "l.jsonl")
    for image_id, count in (("a", 3), (7, 0), ("b", 2)):
        lines.write(make(image_id, count))
    assert lines.done == {}  # of earlier runs
    lines.close()
    lines = LineFile(tmp_path / "l.jsonl", resume=True)
    assert list(lines.done) == ["a", 7, "b"]
    for image_id, count in (("b", 2), ("a", 3), (7, 0)):
        found, expected = lines.read(image_id, NAMES, IDS), make(image_id, count)
        assert (found.size, found.image_id) == (expected.size, image_id)
        np.testing.assert_array_equal(found.masks, expected.masks)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.scores, expected.scores)
    with pytest.raises(InputError, match=r"was written with weights of other categories"):
        lines.read("a", NAMES, (0, 1, 2))
    lines.write(make("c"))
    lines.close()
    assert len((tmp_path / "l.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("left", [b"{", b'{"image_id": "z", "height', b"\xff", None])
def test_a_half_written_line_is_dropped(tmp_path, left):
    path = tmp_path / "l.jsonl"
    lines = LineFile(path)
    lines.write(make("a"))
    lines.close()
    good = path.read_bytes()
    path.write_bytes(good + (good[:-1] if left is None else left))
    lines = LineFile(path, resume=True)
    assert list(lines.done) == ["a"]
    lines.write(make("b"))
    lines.close()
    assert [json.loads(x)["image_id"] for x in path.read_text().splitlines()] == ["a", "b"]
    assert path.read_bytes().startswith(good)


def test_without_resume_the_file_is_new(tmp_path):
    path = tmp_path / "l.jsonl"
    path.write_text("something\n")
    LineFile(path).close()
    assert path.read_bytes() == b""
    LineFile(tmp_path / "new.jsonl", resume=True).close()  # nothing to go on with is fine


@pytest.mark.parametrize("text", ["something\n", "[]\n", '{"image_id": 1}\n', "\n"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "l.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=r"l\.jsonl: line 1 is not one of fcis predict; leave out"):
        LineFile(path, resume=True)
    assert path.read_text() == text


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "l.jsonl").mkdir()
    with pytest.raises(InputError, match=r"l\.jsonl: cannot be written"):
        LineFile(tmp_path / "l.jsonl")
