"""LabelMe files as others read them."""

import json

from PIL import Image

from fcis.data.formats.copied_images import output_names
from fcis.data.formats.write_labelme import write_labelme


def test_files(difficult, tmp_path):
    assert write_labelme(difficult, output_names(difficult), tmp_path) == tmp_path
    assert (tmp_path / "labels.txt").read_text() == "no\ntraffic light\na/b: \u00fc\n"
    document = json.loads((tmp_path / "sub" / "a b.json").read_text())
    assert document["imagePath"] == "a b.png" and document["imageData"] is None
    assert (document["imageHeight"], document["imageWidth"]) == (20, 30)
    assert Image.open(tmp_path / "sub" / document["imagePath"]).size == (30, 20)
    assert json.loads((tmp_path / "c.json").read_text())["shapes"] == []
    shapes = document["shapes"]
    assert {s["shape_type"] for s in shapes} == {"polygon"}
    assert [s["label"] for s in shapes[:3]] == ["traffic light"] * 3
    # one piece needs no group; the two pieces of the second object share theirs
    assert shapes[0]["group_id"] is None and shapes[0]["flags"] == {}
    assert shapes[1]["group_id"] == shapes[2]["group_id"] == 2
    square = [[10.0, 8.0], [20.0, 8.0], [20.0, 18.0], [10.0, 18.0]]
    assert sorted(square) in (sorted(shapes[1]["points"]), sorted(shapes[2]["points"]))
    assert shapes[-1]["flags"] == {"crowd": True}
