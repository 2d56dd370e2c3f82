from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fcis.core.errors import InputError
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.data.source import open_dataset
from fcis.evaluation.calibration import Calibration
from fcis.inference.predictor import Predictor, load_predictor
from fcis.inference.test_time.ensemble import Averaging, Ensemble
from fcis.inference.test_time.scales import read_scales
from fcis.inference.tiling.tile_grid import make_tiling
from fcis.model.backbone import FrozenBatchNorm
from fcis.model.build import build_model
from fcis.model.fcis import FCIS
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Augmentation
from fcis.training.run import BEST, for_dataset, train
from fcis.weights.weights_file import load_weights, read_info, save_weights


@pytest.fixture(scope="module")
def predictor(tiny_weights):
    return load_predictor(tiny_weights)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def same(first, second):
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.masks, second.masks)


def test_one_image_in_every_form(predictor, tmp_path):
    pixels = noise(48, 64, 3)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    first = predictor.predict(pixels, score_threshold=0)
    assert len(first) == 20 and first.size == (48, 64)
    np.testing.assert_array_equal(first.image, pixels)
    for form in (path, str(path), Image.fromarray(pixels)):
        same(predictor.predict(form, score_threshold=0), first)
    assert predictor.predict(path).file_name == str(path)
    assert first.file_name == ""


def test_results_are_arrays_in_pixels_of_the_image(predictor):
    found = predictor.predict(noise(48, 64, 3), score_threshold=0)
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


def test_a_list_gives_a_list_and_each_image_the_same_as_alone(predictor):
    images = [noise(40, 56, 3, seed=1), noise(64, 32, 3, seed=2)]
    together = predictor.predict(images, score_threshold=0)
    assert [f.size for f in together] == [(40, 56), (64, 32)]
    for image, found in zip(images, together, strict=True):
        same(found, predictor.predict(image, score_threshold=0))
    assert predictor.predict([]) == []


def test_a_batch_gives_each_image_the_same_as_alone(predictor):
    images = [noise(40, 56, 3, seed=1), noise(64, 32, 3, seed=2)]
    for image, found in zip(images, predictor.detect(images), strict=True):
        (alone,) = predictor.detect([image])
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)
        assert len(found) == len(alone) and found.size == image.shape[:2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The file of a tiny network that has learnt six scenes by heart, and their images."""
    scenes = scene_dataset(6, 1, size=(96, 96))
    recipe = for_dataset(named_recipe("tiny"), scenes)
    recipe = replace(
        recipe,
        training=replace(
            recipe.training,
            steps=300,
            checkpoint_every=300,
            optimiser=replace(recipe.training.optimiser, lr=0.006, warmup_steps=20),
            augmentation=Augmentation(flip=0.0),
        ),
    )
    folder = tmp_path_factory.mktemp("trained")
    train(recipe, scenes, scene_dataset(4, 2, size=(96, 96)), folder)
    return folder / BEST, [r.read() for r in scenes.images]


@pytest.mark.slow
def test_what_a_trained_network_finds_does_not_depend_on_the_batch(trained):
    """Four images of three sizes: the same labels and masks, bit for bit, as a set."""
    path, scenes = trained
    predictor = load_predictor(path)
    images = [scenes[0], scenes[1][:64, :80], scenes[2][:, :70], scenes[3]]
    together = predictor.detect(images)
    top = []
    for image, found in zip(images, together, strict=True):
        (alone,) = predictor.detect([image])
        assert len(found) == len(alone) > 0
        first, second = (
            sorted(
                (int(label), mask.tobytes(), float(score))
                for label, mask, score in zip(f.labels, f.masks, f.scores, strict=True)
            )
            for f in (found, alone)
        )
        assert [d[:2] for d in first] == [d[:2] for d in second]
        np.testing.assert_allclose([d[2] for d in first], [d[2] for d in second], atol=1e-5)
        top.append(found.scores.max())
    assert max(top) > 0.5  # it has learnt: these are no scores of first weights


def test_operating_thresholds_hold_class_by_class(predictor):
    found = predictor.predict(noise(48, 64, 3), score_threshold=0)
    assert len(predictor.predict(noise(48, 64, 3))) == 0  # all are 0.9
    label = int(found.labels[0])
    limits = [0.9] * 8
    limits[label - 1] = 0.0
    own = Predictor(predictor.model, replace(predictor.info, thresholds=tuple(limits)))
    shown = own.predict(noise(48, 64, 3))
    assert set(shown.labels.tolist()) == {label}
    assert len(shown) == (found.labels == label).sum()
    # an explicit threshold takes their place
    same(own.predict(noise(48, 64, 3), score_threshold=0), found)


def test_deep_images_use_the_percentiles_of_the_weights(predictor, tmp_path):
    values = np.full((40, 40), 100, dtype=np.uint16)
    values[0, 0], values[0, 1], values[20:] = 0, 65535, 200
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path)

    def step(percentiles):
        model = replace(
            predictor.info.model,
            preprocessing=replace(predictor.info.model.preprocessing, high_depth=percentiles),
        )
        own = Predictor(predictor.model, replace(predictor.info, model=model))
        steps = []
        for form in (values, path, Image.open(path)):
            levels = own.read(form).astype(int)
            assert levels.shape == (40, 40, 3)
            steps.append(levels[30, 30, 0] - levels[10, 10, 0])
        assert len(set(steps)) == 1
        return steps[0]

    assert step((0.1, 99.9)) > 90
    assert step((0.0, 100.0)) <= 1


def test_files_are_turned_upright_and_pillow_images_are_not(predictor, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(noise(40, 56, 3)).save(path, exif=exif)
    assert predictor.predict(path).size == (56, 40)
    assert predictor.predict(Image.open(path)).size == (40, 56)


@pytest.mark.parametrize("batch", [1, 2])
def test_datasets_are_labelled_with_their_ids(predictor, batch):
    dataset = open_dataset("scenes:3:4")
    found = list(predictor.detect_dataset(dataset, batch=batch))
    assert [(f.image_id, f.file_name) for f in found] == [
        (record.id, record.file_name) for record in dataset.images
    ]
    images = [record.read() for record in dataset.images]
    # in the same company, so that the arithmetic is the same
    same(found[1], predictor.detect(images[2 - batch : 2])[-1])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("missing.png", "missing.png: no such file"),
        (np.zeros((0, 5, 3), np.uint8), "image"),
        (np.zeros((5, 5, 2), np.uint8), "image"),
    ],
)
def test_bad_images(predictor, image, message):
    with pytest.raises(InputError, match=message):
        predictor.predict(image)
    with pytest.raises(InputError, match=message):
        predictor.predict([image])


def test_a_prepared_image_is_the_same_image(predictor):
    images = [noise(40, 56, 3, seed=1), noise(64, 32, 3, seed=2)]
    prepared = [predictor.prepare(image) for image in images]
    for one, two in zip(predictor.detect(prepared), predictor.detect(images), strict=True):
        same(one, two)
        np.testing.assert_array_equal(one.image, two.image)


def test_batches_of_a_list(predictor, tmp_path, monkeypatch):
    images = [noise(40 + 8 * i, 56, 3, seed=i) for i in range(5)]
    Image.fromarray(images[3]).save(tmp_path / "x.png")
    images[3] = str(tmp_path / "x.png")
    alone = predictor.predict(images, score_threshold=0)
    assert [found.file_name for found in alone] == ["", "", "", images[3], ""]
    sizes = []
    detect = Predictor.detect

    def spy(self, images):
        sizes.append(len(images))
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    together = predictor.predict(images, score_threshold=0, batch=2)
    assert sizes == [2, 2, 1]
    for one, two in zip(together, alone, strict=True):
        assert (one.size, one.file_name) == (two.size, two.file_name)
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        predictor.predict(images, batch=0)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_what_fails_does_not_stop_the_others(predictor, monkeypatch, batch):
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
    found = list(predictor.detect_each((partial(read, h) for h in heights), batch=batch))
    assert [str(found[1]), str(found[2])] == ["no such image", "too large among 1"]
    for one, height in ((found[0], 48), (found[3], 56)):
        (alone,) = detect(predictor, [read(height)])
        assert one.size == alone.size == (height, 64)
        np.testing.assert_allclose(one.scores, alone.scores, atol=1e-5)


def test_a_bug_while_reading_is_raised_in_its_turn(predictor):
    def bug():
        raise RuntimeError("a bug")

    each = predictor.detect_each([lambda: noise(48, 64, 3), bug, lambda: noise(48, 64, 3)])
    assert len(next(each)) == 20
    with pytest.raises(RuntimeError, match="a bug"):
        next(each)


def test_images_are_read_while_the_network_works_but_only_a_few(predictor, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    begun, seen = [], []

    def read(number):
        begun.append(number)
        return noise(32, 32, 3, seed=number)

    reads = (partial(read, n) for n in range(20))
    for number, found in enumerate(predictor.detect_each(reads)):
        assert found.size == (32, 32)
        seen.append(max(begun) - number)
    assert sorted(begun) == list(range(20))
    assert min(seen) >= 0 and max(seen) <= 4


def test_too_little_memory_is_said(predictor, monkeypatch):
    def detect(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 40 GiB")

    monkeypatch.setattr(FCIS, "detect", detect)
    with pytest.raises(InputError, match=r"^device cpu: too little memory for 1 image\(s\) resiz"):
        predictor.predict(noise(48, 64, 3))


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


def mask_ious(one, two):
    """Of each mask of `one` with the best of its label in `two`."""
    ious = []
    for mask, label in zip(one.masks, one.labels, strict=True):
        others = two.masks[two.labels == label]
        union = (mask | others).sum(axis=(1, 2))
        ious.append(((mask & others).sum(axis=(1, 2)) / union).max(initial=0.0))
    return np.array(ious)


@pytest.mark.slow
def test_half_precision_finds_the_same(trained):
    path, scenes = trained
    predictor, half = load_predictor(path), load_predictor(path, precision="bfloat16")
    assert next(half.model.parameters()).dtype == torch.bfloat16
    ious = []
    for image in scenes:
        expected = predictor.predict(image, score_threshold=0.5)
        found = half.predict(image, score_threshold=0.4)
        assert found.scores.dtype == np.float32
        ious += mask_ious(expected, found).tolist()
    assert len(ious) > 5
    assert np.median(ious) > 0.95 and np.mean(np.array(ious) > 0.85) > 0.9


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
    with pytest.raises(InputError, match=r"odd\.safetensors: recipe: rpn\.nms is 0\.0"):
        load_predictor(path)
    load_weights(path, predictor.model)  # its arrays are fine


def test_one_tile_is_the_plain_result(predictor, tmp_path):
    """Bit for bit, for tiles of the image's size and larger ones, and every kind of input."""
    pixels = noise(70, 90, 3)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    plain = predictor.predict(pixels, score_threshold=0)
    for tile in (90, 100, 4096):
        for form in (pixels, path, Image.fromarray(pixels)):
            found = predictor.predict(form, score_threshold=0, tile=tile)
            same(found, plain)
            np.testing.assert_array_equal(found.image, pixels)
    (alone,) = predictor.predict([path], score_threshold=0, tile=90)
    same(alone, plain)
    assert alone.file_name == str(path)


@pytest.mark.parametrize("batch", [1, 3])
def test_tiles_are_looked_at_one_by_one_and_joined(predictor, monkeypatch, batch):
    pixels = noise(150, 200, 3)
    seen = []
    detect = Predictor.detect

    def spy(self, images):
        seen.extend(image.image.copy() for image in images)
        assert len(images) <= batch
        return detect(self, images)

    monkeypatch.setattr(Predictor, "detect", spy)
    found = predictor.predict(pixels, score_threshold=0, tile=100, overlap=20, batch=batch)
    corners = [(y, x) for y in (0, 50) for x in (0, 50, 100)]
    assert len(seen) == 6
    for image, (top, left) in zip(seen, corners, strict=True):
        np.testing.assert_array_equal(image, pixels[top : top + 100, left : left + 100])
    assert len(found) > 20 and found.size == (150, 200)
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_array_equal(found.image, pixels)
    assert len(predictor.predict(pixels, tile=100)) == 0  # the operating threshold is 0.9


def test_levels_are_stretched_alike_in_all_tiles(predictor):
    """A dark tile of a bright image stays dark, and is not stretched to noise."""
    model = predictor.info.model
    recipe = replace(model, preprocessing=replace(model.preprocessing, stretch=(0.1, 99.9)))
    own = Predictor(build_model(recipe), replace(predictor.info, model=recipe))
    pixels = noise(100, 200, 3) // 50
    pixels[:, 100:] += 200
    inputs = []

    def spy(images):
        inputs.extend(image.pixels for image in images)
        return Predictor.detect(own, images)

    own.detect = spy
    own.predict(pixels, tile=100, overlap=20)
    whole = own.prepare(pixels).pixels
    assert len(inputs) == 3
    for index, left in enumerate((0, 50, 100)):
        assert torch.equal(
            inputs[index], own.prepare(pixels[:, left : left + 100], (0, 205)).pixels
        )
    dark, bright = inputs[0][:, :, :-2], inputs[2]
    assert dark.max() < bright.min()
    assert whole.min() == dark.min() and whole.max() == bright.max()


def test_files_of_very_many_pixels_are_read_by_rows(predictor, tmp_path, monkeypatch):
    pixels = noise(150, 100, 3)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    expected = predictor.predict(pixels, score_threshold=0, tile=64)
    monkeypatch.setattr("fcis.inference.predictor.MAX_PIXELS", 10_000)
    monkeypatch.setattr("fcis.inference.predictor.read_image", None)
    found = predictor.predict(path, score_threshold=0, tile=64)
    assert found.image is None and found.file_name == str(path)
    same(found, expected)


def test_datasets_in_tiles(predictor):
    dataset = open_dataset("scenes:2:4")
    own = Predictor(predictor.model, predictor.info)
    own.tiling = make_tiling(100)
    found = list(own.detect_dataset(dataset))
    assert [f.image_id for f in found] == [record.id for record in dataset.images]
    for one, record in zip(found, dataset.images, strict=True):
        same(one, own.detect_picture(record.open(), own.tiling))
        assert len(one) > 20


def test_impossible_tiles(predictor):
    with pytest.raises(InputError, match="tile 10: expected the side of a tile in pixels"):
        predictor.predict(noise(10, 10, 3), tile=10)


def test_a_tile_that_fails_is_said(predictor, monkeypatch):
    def detect(self, images):
        raise InputError("device cpu: too little memory")

    monkeypatch.setattr(Predictor, "detect", detect)
    with pytest.raises(InputError, match="device cpu: too little memory"):
        predictor.predict(noise(100, 200, 3), tile=100)
