"""Tags of TIFF files."""

import struct

import numpy as np
from PIL import Image

from fcis.imaging.strips.tiff_tags import number, numbers, plain_tags


def test_the_tags_of_a_page(tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(path)
    order, tags = plain_tags(path)
    assert order == "<" and number(order, tags, 256, 0) == 7 and number(order, tags, 257, 0) == 5
    assert numbers(order, tags[258]) == (8, 8, 8)
    assert number(order, tags, 274, 1) == 1


def test_large_files(tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(path, big_tiff=True)
    order, tags = plain_tags(path)
    assert number(order, tags, 256, 0) == 7 and numbers(order, tags[279]) == (35,)


def test_an_endless_page(tmp_path):
    path = tmp_path / "x.tif"
    path.write_bytes(b"II" + struct.pack("<HIH", 42, 8, 65535) + bytes(100))
    assert plain_tags(path) is None
    path.write_bytes(b"II" + struct.pack("<HHHQ", 43, 8, 0, 2**63))
    assert plain_tags(path) is None
