"""Every tolerance stands with its reason, and reaches what it says that it reaches."""

import ast
from pathlib import Path

import numpy as np

from fcis.core.masks import rle_area, rle_from_polygons
from fcis.data.checks import limits


def test_each_has_its_reason():
    body = ast.parse(Path(limits.__file__).read_text()).body[1:]
    for value, reason in zip(body[0::2], body[1::2], strict=True):
        assert isinstance(value, ast.Assign) and isinstance(reason, ast.Expr)
        assert isinstance(reason.value, ast.Constant) and len(reason.value.value) > 40


def test_thick_outlines_have_a_pixel():
    rng = np.random.default_rng(0)
    for _ in range(500):
        x, y = rng.uniform(0, 20, 2)
        width, height = rng.uniform(limits.THICK, 6, 2)
        box = [x, y, x + width, y, x + width, y + height, x, y + height]
        assert rle_area(rle_from_polygons([box], 32, 32)) > 0
