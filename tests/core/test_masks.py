import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as reference

from fcis.core.masks import (
    MaskCrop,
    common_box,
    crop_box,
    crop_from_mask,
    crop_from_rle,
    mask_from_rle,
    pixels_in,
    pixels_in_both,
    rle_area,
    rle_box,
    rle_from_counts,
    rle_from_crop,
    rle_from_mask,
    rle_from_polygons,
    rle_union,
)


def reference_rle(mask):
    return reference.encode(np.asfortranarray(mask.astype(np.uint8)))


def paste(crop, height, width):
    mask = np.zeros((height, width), dtype=bool)
    rows, columns = crop.bits.shape
    mask[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.bits
    return mask


def slow_counts(mask):
    """Run lengths down the columns as the COCO format defines them, background first."""
    counts = [] if not mask.size or not mask[0, 0] else [0]
    for _, run in itertools.groupby(mask.T.ravel().tolist()):
        counts.append(len(list(run)))
    return counts


MASKS = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(lambda size: arrays(bool, size))


class TestRleFromCrop:
    @pytest.mark.parametrize("seed", range(40))
    def test_equals_the_encoding_of_the_full_mask(self, seed):
        rng = np.random.default_rng(seed)
        height, width = (int(v) for v in rng.integers(1, 30, 2))
        rows, columns = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
        crop = MaskCrop(
            top=int(rng.integers(0, height - rows + 1)),
            left=int(rng.integers(0, width - columns + 1)),
            bits=rng.random((rows, columns)) < rng.choice([0.1, 0.5, 0.9, 1.0]),
        )
        expected = reference_rle(paste(crop, height, width))
        assert rle_from_crop(crop, height, width) == expected

    @given(MASKS)
    @settings(max_examples=200, deadline=None)
    def test_full_height_crops_join_runs_over_columns(self, bits):
        height, width = bits.shape[0], bits.shape[1] + 2
        crop = MaskCrop(top=0, left=1, bits=bits)
        expected = reference_rle(paste(crop, height, width))
        assert rle_from_crop(crop, height, width) == expected

    def test_one_run_over_three_columns(self):
        crop = MaskCrop(top=0, left=1, bits=np.ones((4, 3), dtype=bool))
        # 4 background, 12 object, 8 background
        assert rle_from_crop(crop, 4, 6) == rle_from_counts([4, 12, 8], 4, 6)

    def test_run_to_the_last_pixel_leaves_no_empty_run(self):
        crop = MaskCrop(top=1, left=2, bits=np.ones((2, 1), dtype=bool))
        assert rle_from_crop(crop, 3, 3) == rle_from_counts([7, 2], 3, 3)

    def test_run_from_the_first_pixel_begins_with_an_empty_one(self):
        crop = MaskCrop(top=0, left=0, bits=np.ones((1, 1), dtype=bool))
        assert rle_from_crop(crop, 2, 2) == rle_from_counts([0, 1, 3], 2, 2)

    def test_crop_without_pixels(self):
        crop = MaskCrop(top=1, left=1, bits=np.zeros((2, 2), dtype=bool))
        assert rle_from_crop(crop, 4, 5) == reference_rle(np.zeros((4, 5)))

    def test_large_image_needs_no_full_mask(self):
        crop = MaskCrop(top=99_000, left=39_990, bits=np.ones((10, 10), dtype=bool))
        rle = rle_from_crop(crop, 100_000, 40_000)  # 4 gigapixels
        assert rle_area(rle) == 100
        assert rle_box(rle) == (39_990, 99_000, 40_000, 99_010)

    @pytest.mark.parametrize(("top", "left"), [(-1, 0), (0, -1), (3, 0), (0, 4)])
    def test_crop_outside_is_refused(self, top, left):
        crop = MaskCrop(top=top, left=left, bits=np.ones((2, 2), dtype=bool))
        text = rf"crop: 2 x 2 at \({top}, {left}\) is not inside an image of 4 x 5"
        with pytest.raises(ValueError, match=text):
            rle_from_crop(crop, 4, 5)


class TestRleFromMask:
    @given(MASKS)
    @settings(max_examples=100, deadline=None)
    def test_agrees_with_the_definition_and_comes_back(self, mask):
        height, width = mask.shape
        rle = rle_from_mask(mask)
        assert rle == reference_rle(mask)
        assert rle == rle_from_counts(slow_counts(mask), height, width)
        assert np.array_equal(mask_from_rle(rle), mask)
        assert rle_area(rle) == mask.sum()

    def test_hand_made(self):
        mask = np.array([[0, 1, 1], [0, 1, 0]], dtype=bool)
        rle = rle_from_mask(mask)
        assert rle["size"] == [2, 3]
        assert rle == rle_from_counts([2, 3, 1], 2, 3)
        assert isinstance(rle["counts"], bytes)

    def test_memory_order_does_not_matter(self):
        mask = np.random.default_rng(0).random((7, 9)) < 0.5
        assert rle_from_mask(np.asfortranarray(mask)) == rle_from_mask(mask)
        assert rle_from_mask(np.repeat(mask, 2, axis=1)[:, ::2]) == rle_from_mask(mask)


class TestRleFromCounts:
    def test_agrees_with_pycocotools(self):
        counts = [3, 2, 5, 1, 9]
        expected = reference.frPyObjects({"counts": counts, "size": [4, 5]}, 4, 5)
        assert rle_from_counts(counts, 4, 5) == expected


class TestRleFromPolygons:
    def test_rectangle(self):
        mask = mask_from_rle(rle_from_polygons([[1.0, 2.0, 4.0, 2.0, 4.0, 5.0, 1.0, 5.0]], 7, 6))
        expected = np.zeros((7, 6), dtype=bool)
        expected[2:5, 1:4] = True
        assert np.array_equal(mask, expected)

    @pytest.mark.parametrize("seed", range(10))
    def test_agrees_with_pycocotools(self, seed):
        rng = np.random.default_rng(seed)
        polygons = [rng.uniform(-3, 33, 2 * int(rng.integers(3, 9))).tolist() for _ in range(3)]
        expected = reference.merge(reference.frPyObjects(polygons, 30, 25))
        assert rle_from_polygons(polygons, 30, 25) == expected

    def test_several_parts_are_one_mask(self):
        left = [0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0]
        right = [value + 4 for value in left]
        both = mask_from_rle(rle_from_polygons([left, right], 6, 6))
        parts = [mask_from_rle(rle_from_polygons([p], 6, 6)) for p in (left, right)]
        assert np.array_equal(both, parts[0] | parts[1])
        assert both.sum() == 8

    def test_polygon_without_area_is_empty(self):
        rle = rle_from_polygons([[1.2, 1.2, 1.3, 1.3, 1.2, 1.2]], 5, 5)
        assert rle_area(rle) == 0
        assert crop_from_rle(rle).area == 0


class TestCrops:
    def test_hand_made(self):
        mask = np.zeros((5, 7), dtype=bool)
        mask[1, 3] = mask[3, 5] = True
        for crop in (crop_from_mask(mask), crop_from_rle(rle_from_mask(mask))):
            assert (crop.top, crop.left) == (1, 3)
            assert crop.bits.tolist() == [[True, False, False], [False] * 3, [False, False, True]]
            assert crop.area == 2

    @given(MASKS)
    @settings(max_examples=100, deadline=None)
    def test_both_ways_give_one_tight_crop_that_comes_back(self, mask):
        height, width = mask.shape
        rle = rle_from_mask(mask)
        first, second = crop_from_mask(mask), crop_from_rle(rle)
        assert (first.top, first.left) == (second.top, second.left)
        assert np.array_equal(first.bits, second.bits)
        assert np.array_equal(paste(first, height, width), mask)
        assert rle_from_crop(first, height, width) == rle
        if mask.any():
            border = [*first.bits[[0, -1]], *first.bits.T[[0, -1]]]
            assert all(line.any() for line in border)

    def test_empty_mask_gives_one_empty_pixel(self):
        mask = np.zeros((4, 4), dtype=bool)
        for crop in (crop_from_mask(mask), crop_from_rle(rle_from_mask(mask))):
            assert (crop.top, crop.left, crop.area) == (0, 0, 0)
            assert crop.bits.shape == (1, 1)

    def test_crop_does_not_share_memory_with_the_mask(self):
        mask = np.ones((3, 3), dtype=bool)
        crop = crop_from_mask(mask)
        mask[:] = False
        assert crop.area == 9


class TestRleBox:
    def test_right_and_bottom_are_exclusive(self):
        mask = np.zeros((6, 8), dtype=bool)
        mask[2:4, 3:7] = True
        assert rle_box(rle_from_mask(mask)) == (3.0, 2.0, 7.0, 4.0)

    def test_empty_mask(self):
        assert rle_box(rle_from_mask(np.zeros((3, 3), dtype=bool))) == (0.0, 0.0, 0.0, 0.0)

    def test_run_over_two_columns_spans_the_height(self):
        mask = np.zeros((4, 4), dtype=bool)
        mask[3, 1] = mask[0, 2] = True
        assert rle_box(rle_from_mask(mask)) == (1.0, 0.0, 3.0, 4.0)


def crop(top, left, bits):
    return MaskCrop(top=top, left=left, bits=np.array(bits, dtype=bool))


def test_boxes_of_crops():
    assert crop_box(crop(3, 4, [[1, 0, 1]])) == (3, 4, 4, 7)
    assert common_box((0, 0, 4, 4), (2, 1, 9, 3)) == (2, 1, 4, 3)
    assert common_box((0, 0, 4, 4), (4, 0, 8, 4)) is None


def test_pixels_of_crops():
    mask = crop(2, 3, [[1, 0, 1], [1, 1, 1]])
    assert pixels_in(mask, (0, 0, 10, 10)) == 5
    assert pixels_in(mask, (3, 4, 10, 10)) == 2
    assert pixels_in(mask, (9, 9, 10, 10)) == 0
    assert pixels_in_both(mask, crop(0, 0, np.ones((3, 10)))) == 2
    assert pixels_in_both(mask, crop(3, 5, [[1, 1]])) == 1
    assert pixels_in_both(mask, crop(5, 5, np.ones((4, 4)))) == 0


def test_the_union_of_masks():
    masks = np.random.default_rng(0).random((3, 9, 7)) < 0.3
    union = rle_union([rle_from_mask(mask) for mask in masks])
    np.testing.assert_array_equal(mask_from_rle(union), masks.any(axis=0))
