import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as reference

from fcis.core.masks import MaskCrop, crop_from_mask
from fcis.imaging.drawing import draw_instances
from fcis.imaging.instances import Instances, side_by_side

NAMES = ("background", "cat", "dog", "person")
IDS = (0, 17, 18, 1)


def make(crops=(), labels=(), scores=None, size=(60, 80), **others):
    scores = np.linspace(0.9, 0.1, len(crops)) if scores is None else scores
    values = {"class_names": NAMES, "category_ids": IDS, **others}
    return Instances(
        size=size,
        scores=np.array(scores, dtype=np.float32),
        labels=np.array(labels, dtype=np.int64),
        crops=tuple(crops),
        **values,
    )


def rectangle(top, left, rows, columns):
    return MaskCrop(top=top, left=left, bits=np.ones((rows, columns), dtype=bool))


@pytest.fixture
def three():
    """A cat, a person with an empty margin in its crop, and a dog at the far corner."""
    margin = np.zeros((6, 7), dtype=bool)
    margin[1:4, 2:4] = True
    margin[4, 5] = True
    crops = [rectangle(10, 20, 5, 8), MaskCrop(top=30, left=40, bits=margin)]
    return make(
        [*crops, rectangle(58, 77, 2, 3)],
        [1, 3, 2],
        image=np.full((60, 80, 3), 90, dtype=np.uint8),
        image_id=7,
        file_name="a.png",
    )


def random_instances(count=30, height=40, width=50):
    rng = np.random.default_rng(5)
    masks = rng.random((count, height, width)) < 0.02
    crops = [crop_from_mask(mask) for mask in masks]
    labels, scores = rng.integers(1, 4, count), rng.random(count)
    return masks, make(crops, labels, scores, (height, width))


class TestArrays:
    def test_boxes_are_tight_and_exclusive(self, three):
        expected = [[20, 10, 28, 15], [42, 31, 46, 35], [77, 58, 80, 60]]
        assert three.boxes.tolist() == expected
        assert three.boxes.dtype == np.float32

    def test_masks_come_back_and_boxes_agree_with_the_coco_api(self):
        masks, instances = random_instances()
        assert np.array_equal(instances.masks, masks)
        for mask, (x0, y0, x1, y1) in zip(masks, instances.boxes.tolist(), strict=True):
            rle = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
            assert reference.toBbox(rle).tolist() == [x0, y0, x1 - x0, y1 - y0]

    def test_a_mask_without_pixels(self):
        empty = MaskCrop(top=5, left=6, bits=np.zeros((3, 3), dtype=bool))
        instances = make([empty], [1])
        assert instances.boxes.tolist() == [[0, 0, 0, 0]]
        assert instances.masks.sum() == 0
        assert instances.to_coco()[0]["bbox"] == [0, 0, 0, 0]

    def test_masks_too_large_to_unpack(self):
        instances = make([rectangle(0, 0, 1, 1)] * 100, [1] * 100, size=(10_000, 10_000))
        text = r"masks: 100 of 10000 x 10000 would need 9 GiB; use crops, or to_coco\(\)"
        with pytest.raises(ValueError, match=text):
            _ = instances.masks


class TestSelect:
    def test_by_booleans(self, three):
        kept = three.select(np.array([True, False, True]))
        assert kept.labels.tolist() == [1, 2]
        assert np.array_equal(kept.scores, three.scores[[0, 2]])
        assert kept.crops == (three.crops[0], three.crops[2])
        assert (kept.image_id, kept.file_name, kept.size) == (7, "a.png", (60, 80))
        assert kept.image is three.image

    def test_by_indices_in_their_order(self, three):
        kept = three.select(np.array([2, 0]))
        assert kept.labels.tolist() == [2, 1]
        assert kept.boxes.tolist() == three.boxes[[2, 0]].tolist()

    def test_none(self, three):
        assert len(three.select(np.zeros(3, dtype=bool))) == 0
        assert len(three.select(np.zeros(0, dtype=np.int64))) == 0

    def test_too_few_booleans(self, three):
        with pytest.raises(ValueError, match="keep: expected 3 booleans, got 2"):
            three.select(np.array([True, False]))


class TestAbove:
    def test_one_threshold_for_all(self, three):
        assert three.above(0.5).labels.tolist() == [1, 3]
        assert len(three.above(0.95)) == 0
        assert len(three.above(0.0)) == 3

    def test_a_score_equal_to_the_threshold_passes_in_every_form(self):
        # 0.7 in float32 is a little less than in float64
        instances = make([rectangle(0, 0, 1, 1)], [2], [0.7])
        assert len(instances.above(0.7)) == 1
        assert len(instances.above(np.array([0.0, 0.7, 0.7, 0.7]))) == 1
        assert len(instances.above({"cat": 0.7, "dog": 0.7, "person": 0.7})) == 1

    def test_one_threshold_a_class(self, three):
        # scores: cat 0.9, person 0.5, dog 0.1
        limits = {"cat": 0.95, "dog": 0.05, "person": 0.5}
        assert three.above(limits).labels.tolist() == [3, 2]
        by_label = np.array([1.0, 0.95, 0.05, 0.5])
        assert three.above(by_label).labels.tolist() == [3, 2]

    def test_errors(self, three):
        with pytest.raises(ValueError, match="threshold: no value for class 'dog'"):
            three.above({"cat": 0.5, "person": 0.5})
        with pytest.raises(ValueError, match=r"threshold: expected 4 values, .* got 3"):
            three.above(np.array([0.1, 0.2, 0.3]))


class TestToCoco:
    def test_entries(self, three):
        results = three.to_coco()
        assert [r["category_id"] for r in results] == [17, 1, 18]
        assert [r["bbox"] for r in results] == [[20, 10, 8, 5], [42, 31, 4, 4], [77, 58, 3, 2]]
        assert [r["score"] for r in results] == three.scores.tolist()
        assert {r["image_id"] for r in results} == {7}
        assert {r["file_name"] for r in results} == {"a.png"}

    def test_segmentations_are_read_by_the_coco_api_after_json(self):
        masks, instances = random_instances()
        results = json.loads(json.dumps(instances.to_coco(image_id="a/b")))
        decoded = [reference.decode(r["segmentation"]).astype(bool) for r in results]
        assert np.array_equal(np.array(decoded), masks)
        assert all(r["image_id"] == "a/b" for r in results)
        keys = {"image_id", "category_id", "bbox", "segmentation", "score", "file_name"}
        assert all(set(r) == keys for r in results)

    def test_without_any_image_id(self):
        assert make([rectangle(0, 0, 1, 1)], [1]).to_coco()[0]["image_id"] is None

    def test_image_id_zero_is_an_id(self, three):
        assert three.to_coco(image_id=0)[0]["image_id"] == 0


class TestMemory:
    def test_many_instances_in_a_large_image_need_little(self, no_shape_checks):
        rng = np.random.default_rng(0)
        bits = rng.random((2000, 7, 8)) < 0.9
        places = rng.integers(0, 9_990, (2000, 2)).tolist()
        crops = [MaskCrop(top=y, left=x, bits=b) for (y, x), b in zip(places, bits, strict=True)]
        instances = make(crops, rng.integers(1, 4, 2000), size=(10_000, 10_000))
        tracemalloc.start()
        results, boxes = instances.to_coco(), instances.boxes
        kept = instances.above(0.5)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20e6  # one full-size mask would be 100 MB
        assert len(results) == len(boxes) == 2000
        assert 900 < len(kept) < 1100
        areas = [reference.area(r["segmentation"]) for r in results[:50]]
        assert areas == [crop.area for crop in crops[:50]]


class TestDraw:
    def test_is_the_picture_of_its_parts(self, three):
        expected = draw_instances(three.image, three.crops, three.labels, three.scores, NAMES)
        assert np.array_equal(np.asarray(three.draw()), np.asarray(expected))

    def test_options_are_handed_on(self, three):
        picture = three.draw(color_by="instance", text=False, scale=3, fill=0.1)
        expected = draw_instances(
            three.image,
            three.crops,
            three.labels,
            three.scores,
            NAMES,
            color_by="instance",
            text=False,
            scale=3,
            fill=0.1,
        )
        assert picture.size == (240, 180)
        assert np.array_equal(np.asarray(picture), np.asarray(expected))

    def test_without_an_image(self, three):
        with pytest.raises(ValueError, match=r"draw: .* without their image; give it by"):
            replace(three, image=None).draw()

    def test_side_by_side(self, three):
        sheet = side_by_side(three, three.above(0.5))
        one = three.draw()
        assert sheet.width > 2 * one.width and sheet.height > one.height
        with pytest.raises(ValueError, match="without their image"):
            side_by_side(three, replace(three, image=None))


class TestEmpty:
    def test_no_instances_work_everywhere(self):
        image = np.full((400, 400, 3), 9, dtype=np.uint8)
        empty = make(size=(400, 400), image=image)
        assert len(empty) == 0
        assert empty.boxes.shape == (0, 4)
        assert empty.masks.shape == (0, 400, 400)
        assert empty.to_coco() == []
        assert len(empty.above(0.5)) == len(empty.above(np.zeros(4))) == 0
        assert len(empty.select(np.zeros(0, dtype=bool))) == 0
        assert np.array_equal(np.asarray(empty.draw()), image)
        assert repr(empty) == "<Instances 400 x 400, 0>"


class TestRepr:
    def test_is_short(self, three):
        expected = "<Instances 'a.png' 60 x 80, 3: 1 cat, 1 dog, 1 person>"
        assert repr(three) == expected

    def test_names_the_three_most_frequent(self):
        names = ("background", "a", "b", "c", "d")
        labels = [1, 2, 2, 3, 3, 3, 4, 4]
        crops = [rectangle(0, 0, 1, 1)] * 8
        instances = make(crops, labels, class_names=names, category_ids=(0, 1, 2, 3, 4))
        assert repr(instances) == "<Instances 60 x 80, 8: 3 c, 2 b, 2 d, ...>"


class TestChecks:
    def test_lengths(self, no_shape_checks):
        text = r"instances: expected equal lengths, got \{'scores': 1, 'labels': 2, 'crops': 1\}"
        with pytest.raises(ValueError, match=text):
            make([rectangle(0, 0, 1, 1)], [1, 2])

    def test_category_ids(self):
        text = "category_ids: expected one for each of 4 class names, background included, got 3"
        with pytest.raises(ValueError, match=text):
            make(category_ids=(0, 1, 2))

    @pytest.mark.parametrize("label", [0, 4])
    def test_labels(self, label):
        with pytest.raises(ValueError, match=rf"labels: expected 1\.\.3, got {label}\.\.{label}"):
            make([rectangle(0, 0, 1, 1)], [label])

    @pytest.mark.parametrize(("top", "left"), [(-1, 0), (0, -1), (59, 0), (0, 79)])
    def test_crops(self, top, left):
        text = rf"crops: number 1, 2 x 2 at \({top}, {left}\), is not inside an image of 60 x 80"
        with pytest.raises(ValueError, match=text):
            make([rectangle(0, 0, 1, 1), rectangle(top, left, 2, 2)], [1, 1])

    def test_image(self):
        with pytest.raises(ValueError, match=r"image: expected 60 x 80, got \(80, 60\)"):
            make(image=np.zeros((80, 60, 3), dtype=np.uint8))

    def test_records_cannot_be_changed(self, three):
        with pytest.raises(AttributeError):
            three.file_name = "b.png"
