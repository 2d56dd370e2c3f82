"""Shapes of LabelMe -> objects."""

import base64
import io
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcis.core.masks import mask_from_rle, rle_area
from fcis.data.checks.faults import FAR_POLYGON
from fcis.data.checks.object_check import check_object
from fcis.data.dataset import Polygons
from fcis.data.formats.labelme_shapes import join_shapes, read_shape

PATH = Path("x.json")
SQUARE = [[2, 1], [6, 1], [6, 4], [2, 4]]


def shape(points=SQUARE, kind="polygon", **more):
    return {"label": "cell", "points": points, "shape_type": kind, **more}


def png(bits):
    data = io.BytesIO()
    Image.fromarray(bits.astype(np.uint8) * 255).save(data, format="PNG")
    return base64.b64encode(data.getvalue()).decode("ascii")


def join(*entries, size=(10, 12)):
    shapes = [read_shape(PATH, n, entry) for n, entry in enumerate(entries, start=1)]
    return join_shapes(shapes, size, id="x/1", category_id=3)


def annotation(*entries, size=(10, 12)):
    return check_object(join(*entries, size=size), 3, size).annotation


def pixels(found):
    return mask_from_rle(found.rle)


@pytest.mark.parametrize(
    "entry",
    [
        shape(),
        {"label": "cell", "points": SQUARE},  # files of old say no kind
        shape([[2, 1], [6, 4]], "rectangle"),
        shape([[6, 1], [2, 4]], "rectangle"),
    ],
)
def test_polygons_and_rectangles(entry):
    found = annotation(entry)
    expected = np.zeros((10, 12), dtype=bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(pixels(found), expected)
    assert (found.box, found.area, found.category_id) == ((2, 1, 6, 4), 12, 3)
    assert isinstance(found.mask, Polygons)


def test_a_circle():
    found = annotation(shape([[50, 40], [80, 40]], "circle"), size=(100, 120))
    rows, columns = np.mgrid[:100, :120] + 0.5
    disc = (columns - 50) ** 2 + (rows - 40) ** 2 <= 30**2
    assert np.count_nonzero(disc ^ pixels(found)) <= 0.01 * disc.sum()


def test_a_circle_may_pass_the_border():
    found = annotation(shape([[0, 5], [4, 5]], "circle"))
    assert found.box[0] == 0 and found.area < 0.6 * np.pi * 16


def test_a_mask():
    bits = np.array([[1, 0, 1], [1, 1, 1]], dtype=bool)
    found = annotation(shape([[4, 2], [6, 3]], "mask", mask=png(bits)))
    np.testing.assert_array_equal(pixels(found)[2:4, 4:7], bits)
    assert found.area == 5


def test_parts_of_one_object():
    bits = np.ones((2, 2), dtype=bool)
    found = annotation(
        shape(), shape([[9, 7], [11, 7], [11, 9]]), shape([[5, 3], [6, 4]], "mask", mask=png(bits))
    )
    assert found.area == 12 + pixels(annotation(shape([[9, 7], [11, 7], [11, 9]]))).sum() + 3


def test_only_outlines_stay_outlines():
    found = annotation(shape(), shape([[9, 7], [11, 7], [11, 9]]))
    assert len(found.mask.parts) == 2


def test_crowds():
    assert not annotation(shape(flags={})).is_crowd
    assert annotation(shape(flags={"crowd": True})).is_crowd


@pytest.mark.parametrize(
    "entry",
    [
        shape([[1, 1], [5, 1], [9, 1]]),
        shape([[1, 1], [1, 1]], "circle"),
        shape([[1, 1], [1, 1]], "mask", mask=png(np.zeros((1, 1)))),
    ],
)
def test_no_pixel(entry):
    assert annotation(entry) is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("text", "has no 'label'; name its class"),
        ({"points": SQUARE}, "has no 'label'; name its class"),
        (shape(kind="line"), r"\('cell'\) is of the kind 'line'; objects are polygon, rectangle, "),
        (shape([[1, 1], [2, 2]]), "has 2 points; a polygon takes 3 or more"),
        (shape(SQUARE, "rectangle"), "has 4 points; a rectangle takes 2: redraw or remove it"),
        (shape([[1, 1], [2, 2], [3]]), "has points that are not pairs of numbers; a polygon"),
        (shape([[1, 1], [2, 2], [3, None]]), "has points that are not pairs of numbers"),
        (shape(None), "has 0 points; a polygon takes"),
        (shape([[1, 1], [2, 2]], "mask"), "holds no mask that can be read; redraw"),
        (shape([[1, 1], [2, 2]], "mask", mask="%"), "holds no mask that can be read; redraw"),
        (
            shape([[1, 1], [3, 2]], "mask", mask=png(np.ones((2, 2)))),
            "holds a mask of 2 x 2 pixels, but its corners are 3 x 2 apart",
        ),
    ],
)
def test_bad_shapes(entry, message):
    shapes = [read_shape(PATH, 4, entry)]
    raw = join_shapes(shapes, (10, 12), id="x/4", category_id=3)
    (problem,) = raw.problems
    assert re.search(message, f"{raw.where} {problem.text}; {problem.remedy}")
    assert raw.where.startswith("x.json: shape number 4")
    assert check_object(raw, 3, (10, 12)).annotation is None


@pytest.mark.parametrize(
    "entry",
    [
        shape([[2, 1], [60, 1], [6, 4]]),
        shape([[2, 1], [6, 40]], "rectangle"),
        shape([[11, 8], [12, 8]], "mask", mask=png(np.ones((1, 2)))),
    ],
)
def test_outside_the_image(entry):
    raw = join(entry)
    (problem,) = raw.problems
    assert (raw.where, problem.kind) == ("x.json: shape number 1 ('cell')", FAR_POLYGON)
    assert problem.text == "lies outside the image of 12 x 10 pixels (width x height)"


@pytest.mark.parametrize("kind", [["polygon"], {}, 3])
def test_a_kind_that_is_no_text(kind):
    (problem,) = join(shape(kind=kind or {"a": 1})).problems
    assert problem.text.startswith("is of the kind ")


def test_a_mask_is_held_against_its_corners_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("was decoded"))
    found = join(shape([[2, 1], [3, 2]], "mask", mask=png(np.ones((90, 90)))))
    assert "holds a mask of 90 x 90 pixels" in found.problems[0].text


def test_a_group_on_a_huge_image_takes_no_memory_for_it():
    entries = (
        shape(group_id=1),
        shape([[3, 2], [7, 5]], "mask", mask=png(np.ones((4, 5))), group_id=1),
    )
    tracemalloc.start()
    found = join(*entries, size=(30_000, 30_000)).segmentation
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**6
    assert found["size"] == [30_000, 30_000] and rle_area(found) == 12 + 20 - 6
