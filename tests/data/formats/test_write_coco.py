"""COCO files as others read them."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from fcis.core.masks import mask_from_rle
from fcis.data.formats.copied_images import output_names
from fcis.data.formats.write_coco import write_coco

# pycocotools with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def test_the_reference_reads_it(difficult, tmp_path):
    path = write_coco(difficult, output_names(difficult), tmp_path / "out")
    content = json.loads(path.read_text())
    assert [i["file_name"] for i in content["images"]] == ["sub/a b.png", "c.jpg"]
    assert (tmp_path / "out" / "images" / "sub" / "a b.png").is_file()
    api = COCO(str(path))
    (first, second) = api.loadAnns(api.getAnnIds(17))[:2]
    expected = [mask_from_rle(a.rle) for a in difficult.images[0].annotations[:2]]
    np.testing.assert_array_equal(api.annToMask(first), expected[0])
    np.testing.assert_array_equal(api.annToMask(second), expected[1])
    assert first["bbox"] == [3, 2, 12, 10] and first["area"] == expected[0].sum()
    assert api.getAnnIds(17, iscrowd=True) == [5] and api.getAnnIds(4) == []
