from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fcis.core.errors import InputError
from fcis.data.source import open_dataset
from fcis.evaluation.calibration import Calibration
from fcis.inference.predictor import Predictor, load_predictor
from fcis.inference.test_time.ensemble import Averaging, Ensemble
from fcis.inference.test_time.scales import read_scales
from fcis.model.build import build_model
from fcis.model.fcis import FCIS
from fcis.model.norms import FrozenBatchNorm
from fcis.weights.weights_file import load_weights, read_info, save_weights

from .predictor_cases import noise, same


def test_one_image_in_every_form(tiny_predictor, tmp_path):
    pixels = noise(48, 64, 3)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    first = tiny_predictor.predict(pixels, score_threshold=0)
    assert len(first) == 20 and first.size == (48, 64)
    np.testing.assert_array_equal(first.image, pixels)
    for form in (path, str(path), Image.fromarray(pixels)):
        same(tiny_predictor.predict(form, score_threshold=0), first)
    assert tiny_predictor.predict(path).file_name == str(path)
    assert first.file_name == ""


def test_results_are_arrays_in_pixels_of_the_image(tiny_predictor):
    found = tiny_predictor.predict(noise(48, 64, 3), score_threshold=0)
    n = len(found)
    assert (found.boxes.shape, found.boxes.dtype) == ((n, 4), np.float32)
    assert (found.scores.shape, found.scores.dtype) == ((n,), np.float32)
    assert (found.labels.shape, found.labels.dtype) == ((n,), np.int64)
    assert (found.masks.shape, found.masks.dtype) == ((n, 48, 64), np.bool_)
    assert found.class_names[0] == "background" and found.labels.min() >= 1
    assert (np.diff(found.scores) <= 0).all()
    for box, mask in zip(found.boxes, found.masks, strict=True):
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_scores_are_calibrated_and_nothing_else_changes(tiny_weights):
    predictor = load_predictor(tiny_weights)
    pixels = noise(48, 64, 3)
    (raw,) = predictor.detect([pixels])
    found = Calibration(temperature=0.5, bias=1.0)
    predictor.info = replace(predictor.info, calibration=found)
    (calibrated,) = predictor.detect([pixels])
    np.testing.assert_array_equal(calibrated.scores, found.apply(raw.scores))
    assert (calibrated.scores != raw.scores).all() and (np.diff(calibrated.scores) <= 0).all()
    np.testing.assert_array_equal(calibrated.labels, raw.labels)
    np.testing.assert_array_equal(calibrated.masks, raw.masks)
    np.testing.assert_array_equal(calibrated.image, pixels)
    # thresholds hold for calibrated scores, in every way to get them
    limit = float(calibrated.scores[6])
    predictor.info = replace(predictor.info, thresholds=(limit,) * 8)
    shown = calibrated.above(limit)
    assert 0 < len(shown) < len(calibrated)
    same(predictor.predict(pixels), shown)
    same(predictor.predict([pixels])[0], shown)
    same(predictor.predict(pixels, score_threshold=limit), shown)


def test_a_list_gives_a_list_and_each_image_the_same_as_alone(tiny_predictor):
    images = [noise(40, 56, 3, seed=1), noise(64, 32, 3, seed=2)]
    together = tiny_predictor.predict(images, score_threshold=0)
    assert [f.size for f in together] == [(40, 56), (64, 32)]
    for image, found in zip(images, together, strict=True):
        same(found, tiny_predictor.predict(image, score_threshold=0))
    assert tiny_predictor.predict([]) == []


def test_a_batch_gives_each_image_the_same_as_alone(tiny_predictor):
    images = [noise(40, 56, 3, seed=1), noise(64, 32, 3, seed=2)]
    for image, found in zip(images, tiny_predictor.detect(images), strict=True):
        (alone,) = tiny_predictor.detect([image])
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)
        assert len(found) == len(alone) and found.size == image.shape[:2]


def test_operating_thresholds_hold_class_by_class(tiny_predictor):
    found = tiny_predictor.predict(noise(48, 64, 3), score_threshold=0)
    assert len(tiny_predictor.predict(noise(48, 64, 3))) == 0  # all are 0.9
    label = int(found.labels[0])
    limits = [0.9] * 8
    limits[label - 1] = 0.0
    own = Predictor(tiny_predictor.model, replace(tiny_predictor.info, thresholds=tuple(limits)))
    shown = own.predict(noise(48, 64, 3))
    assert set(shown.labels.tolist()) == {label}
    assert len(shown) == (found.labels == label).sum()
    # an explicit threshold takes their place
    same(own.predict(noise(48, 64, 3), score_threshold=0), found)


def test_deep_images_use_the_percentiles_of_the_weights(tiny_predictor, tmp_path):
    values = np.full((40, 40), 100, dtype=np.uint16)
    values[0, 0], values[0, 1], values[20:] = 0, 65535, 200
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path)

    def step(percentiles):
        model = replace(
            tiny_predictor.info.model,
            preprocessing=replace(tiny_predictor.info.model.preprocessing, high_depth=percentiles),
        )
        own = Predictor(tiny_predictor.model, replace(tiny_predictor.info, model=model))
        steps = []
        for form in (values, path, Image.open(path)):
            levels = own.read(form).astype(int)
            assert levels.shape == (40, 40, 3)
            steps.append(levels[30, 30, 0] - levels[10, 10, 0])
        assert len(set(steps)) == 1
        return steps[0]

    assert step((0.1, 99.9)) > 90
    assert step((0.0, 100.0)) <= 1


def test_files_are_turned_upright_and_pillow_images_are_not(tiny_predictor, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(noise(40, 56, 3)).save(path, exif=exif)
    assert tiny_predictor.predict(path).size == (56, 40)
    assert tiny_predictor.predict(Image.open(path)).size == (40, 56)


@pytest.mark.parametrize("batch", [1, 2])
def test_datasets_are_labelled_with_their_ids(tiny_predictor, batch):
    dataset = open_dataset("scenes:3:4")
    found = list(tiny_predictor.detect_dataset(dataset, batch=batch))
    assert [(f.image_id, f.file_name) for f in found] == [
        (record.id, record.file_name) for record in dataset.images
    ]
    images = [record.read() for record in dataset.images]
    # in the same company, so that the arithmetic is the same
    same(found[1], tiny_predictor.detect(images[2 - batch : 2])[-1])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("missing.png", "missing.png: no such file"),
        (np.zeros((0, 5, 3), np.uint8), "image"),
        (np.zeros((5, 5, 2), np.uint8), "image"),
    ],
)
def test_bad_images(tiny_predictor, image, message):
    with pytest.raises(InputError, match=message):
        tiny_predictor.predict(image)
    with pytest.raises(InputError, match=message):
        tiny_predictor.predict([image])


def test_a_prepared_image_is_the_same_image(tiny_predictor):
    images = [noise(40, 56, 3, seed=1), noise(64, 32, 3, seed=2)]
    prepared = [tiny_predictor.prepare(image) for image in images]
    for one, two in zip(
        tiny_predictor.detect(prepared), tiny_predictor.detect(images), strict=True
    ):
        same(one, two)
        np.testing.assert_array_equal(one.image, two.image)


def test_batches_of_a_list(tiny_predictor, tmp_path, monkeypatch):
    images = [noise(40 + 8 * i, 56, 3, seed=i) for i in range(5)]
    Image.fromarray(images[3]).save(tmp_path / "x.png")
    images[3] = str(tmp_path / "x.png")
    alone = tiny_predictor.predict(images, score_threshold=0)
    assert [found.file_name for found in alone] == ["", "", "", images[3], ""]
    sizes = []
    detect = Predictor.detect

    def spy(self, images):
        sizes.append(len(images))
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    together = tiny_predictor.predict(images, score_threshold=0, batch=2)
    assert sizes == [2, 2, 1]
    for one, two in zip(together, alone, strict=True):
        assert (one.size, one.file_name) == (two.size, two.file_name)
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        tiny_predictor.predict(images, batch=0)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_what_fails_does_not_stop_the_others(tiny_predictor, monkeypatch, batch):
    """An image that cannot be read, and one that makes its whole batch fail."""
    detect = Predictor.detect

    def picky(self, images):
        if any(i.image.shape[0] == 90 for i in images):
            raise InputError(f"too large among {len(images)}")
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", picky)

    def read(height):
        if height == 0:
            raise InputError("no such image")
        return noise(height, 64, 3, seed=height)

    heights = [48, 0, 90, 56]
    found = list(tiny_predictor.detect_each((partial(read, h) for h in heights), batch=batch))
    assert [str(found[1]), str(found[2])] == ["no such image", "too large among 1"]
    for one, height in ((found[0], 48), (found[3], 56)):
        (alone,) = detect(tiny_predictor, [read(height)])
        assert one.size == alone.size == (height, 64)
        np.testing.assert_allclose(one.scores, alone.scores, atol=1e-5)


def test_a_bug_while_reading_is_raised_in_its_turn(tiny_predictor):
    def bug():
        raise RuntimeError("a bug")

    each = tiny_predictor.detect_each([lambda: noise(48, 64, 3), bug, lambda: noise(48, 64, 3)])
    assert len(next(each)) == 20
    with pytest.raises(RuntimeError, match="a bug"):
        next(each)


def test_images_are_read_while_the_network_works_but_only_a_few(tiny_predictor, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    begun, seen = [], []

    def read(number):
        begun.append(number)
        return noise(32, 32, 3, seed=number)

    reads = (partial(read, n) for n in range(20))
    for number, found in enumerate(tiny_predictor.detect_each(reads)):
        assert found.size == (32, 32)
        seen.append(max(begun) - number)
    assert sorted(begun) == list(range(20))
    assert min(seen) >= 0 and max(seen) <= 4


def test_too_little_memory_is_said(tiny_predictor, monkeypatch):
    def detect(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 40 GiB")

    monkeypatch.setattr(FCIS, "detect", detect)
    with pytest.raises(InputError, match=r"^device cpu: too little memory for 1 image\(s\) resiz"):
        tiny_predictor.predict(noise(48, 64, 3))


def test_too_little_memory_for_a_scale_is_said(tiny_weights, monkeypatch):
    own = load_predictor(tiny_weights)
    own.ensemble = Ensemble([own.model], ["tiny"], Averaging(scales=read_scales(["1x", "4x"])))

    def detect(self, inputs, size):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 40 GiB")

    monkeypatch.setattr(Ensemble, "detect", detect)
    with pytest.raises(InputError, match=r"for 1 image\(s\) resized to 256 x 192 pixels; take a"):
        own.predict(noise(48, 64, 3))


def test_the_loaded_network_is_folded_unless_told_otherwise(tiny_weights):
    image = noise(48, 64, 3)
    folded, plain = load_predictor(tiny_weights), load_predictor(tiny_weights, fold=False)
    norms = [
        sum(isinstance(m, FrozenBatchNorm | nn.BatchNorm2d) for m in p.model.modules())
        for p in (folded, plain)
    ]
    assert norms[0] == 0 < norms[1]
    one, two = (p.predict(image, score_threshold=0) for p in (folded, plain))
    assert len(one) == len(two)
    np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)


def test_a_predictor_leaves_the_model_s_arrays_alone(tiny_weights):
    """As when a model in training is validated."""
    model = build_model(read_info(tiny_weights).model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    Predictor(model, read_info(tiny_weights)).predict(noise(48, 64, 3))
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.requires_grad for p in model.head.parameters())


def test_changed_test_time_settings(tiny_weights):
    recipe = read_info(tiny_weights).model
    recipe = replace(recipe, detection=replace(recipe.detection, max_detections=3))
    found = load_predictor(tiny_weights, recipe=recipe).predict(noise(48, 64, 3), score_threshold=0)
    assert len(found) == 3


def test_recipes_that_make_no_sense_name_the_file(tiny_weights, tmp_path):
    info = read_info(tiny_weights)
    predictor = load_predictor(tiny_weights, fold=False)
    model = replace(info.model, rpn=replace(info.model.rpn, nms=0.0))
    path = tmp_path / "odd.safetensors"
    save_weights(path, predictor.model, replace(info, model=model))
    with pytest.raises(InputError, match=r"odd\.safetensors: model\.rpn\.nms: is 0\.0, expected"):
        load_predictor(path)
    load_weights(path, predictor.model)  # its arrays are fine
