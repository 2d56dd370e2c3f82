import hashlib
import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.data.dataset import Dataset
from fcis.inference.preprocess import prepare
from fcis.recipe.types import RELEASE
from fcis.training.module import training_loader
from fcis.training.samples import TrainingSamples, target_generator

from .conftest import LEVEL, blob, dataset_of, record_of


def painted_record(number=0):
    """Three L-shaped objects, apart from one another, one at the border."""
    return record_of(
        [
            blob(60, 80, 5, 6, 20, 18),
            blob(60, 80, 30, 40, 24, 30),
            blob(60, 80, 0, 50, 16, 30),
        ],
        number=number,
        crowds=[blob(60, 80, 40, 4, 12, 12)],
    )


def full_mask(mask, size):
    full = np.zeros(size)
    rows, columns = mask.values.shape
    full[mask.top : mask.top + rows, mask.left : mask.left + columns] = mask.values.numpy()
    return full


def assert_same(first, second):
    assert first.number == second.number and first.name == second.name
    assert torch.equal(first.pixels, second.pixels)
    assert first.plan == second.plan
    assert torch.equal(first.truth.boxes, second.truth.boxes)
    assert torch.equal(first.truth.labels, second.truth.labels)
    assert torch.equal(first.truth.crowds, second.truth.crowds)
    for a, b in zip(first.truth.masks, second.truth.masks, strict=True):
        assert (a.top, a.left) == (b.top, b.left) and torch.equal(a.values, b.values)


CHANGES = {
    "flip": {"flip": 1.0},
    "flip_vertical": {"flip_vertical": 1.0},
    "transpose": {"transpose": 1.0},
    "scale": {"scale": (0.7, 1.6)},
    "crop": {"crop": 40},
    "larger crop": {"crop": 150},
    "elastic": {"elastic": 2.0, "elastic_smoothness": 12.0},
    "all": {
        "flip": 0.5,
        "flip_vertical": 0.5,
        "transpose": 0.5,
        "scale": (0.7, 1.6),
        "crop": 48,
    },
}
CHANGES["all, and elastic"] = CHANGES["all"] | {"elastic": 2.0}


@pytest.mark.parametrize("change", CHANGES)
def test_pixels_boxes_and_masks_move_together(plain, change):
    """Object i alone is bright in channel i: its mask must be what that channel shows."""
    samples = TrainingSamples(dataset_of([painted_record()]), plain(zoom=1.3, **CHANGES[change]))
    seen = 0
    for number in range(25):
        sample = samples[number]
        pixels, truth = sample.pixels.numpy() / LEVEL, sample.truth
        assert sample.plan.size == pixels.shape[1:]
        for label, box, mask in zip(truth.labels, truth.boxes, truth.masks, strict=True):
            expected = pixels[label - 1]
            np.testing.assert_allclose(full_mask(mask, expected.shape), expected, atol=2e-5)
            rows, columns = np.nonzero(expected >= 0.5)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, tight, atol=1.001)
            seen += 1
        factor = np.prod(sample.plan.factors)
        for label in {1, 2, 3} - set(truth.labels.tolist()):
            x0, y0, x1, y1 = painted_record().annotations[label - 1].box
            most = 0.15 * (x1 - x0) * (y1 - y0) * factor
            assert (pixels[label - 1] >= 0.5).sum() <= most + 10  # some at the edge of the cut
    assert seen >= 20


def test_every_change_happens_and_does_something(plain):
    dataset = dataset_of([painted_record()])
    still = TrainingSamples(dataset, plain())[0]
    for name, changes in CHANGES.items():
        changed = TrainingSamples(dataset, plain(**changes))[0]
        same = changed.pixels.shape == still.pixels.shape
        assert not same or not torch.equal(changed.pixels, still.pixels), name


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("flip", lambda pixels: pixels.flip(2)),
        ("flip_vertical", lambda pixels: pixels.flip(1)),
        ("transpose", lambda pixels: pixels.transpose(1, 2)),
    ],
)
def test_each_mirroring_is_the_one_it_is_called(plain, change, expected):
    dataset = dataset_of([painted_record()])
    still = TrainingSamples(dataset, plain())[0].pixels
    assert torch.equal(TrainingSamples(dataset, plain(**{change: 1.0}))[0].pixels, expected(still))


def test_half_of_the_samples_are_flipped(plain):
    dataset = dataset_of([painted_record()])
    still = TrainingSamples(dataset, plain())[0].pixels
    samples = TrainingSamples(dataset, plain(flip=0.5))
    flips = sum(not torch.equal(samples[n].pixels, still) for n in range(200))
    assert 70 <= flips <= 130


def test_crowd_regions_move_along_and_are_no_objects(plain):
    record = painted_record()
    sample = TrainingSamples(dataset_of([record]), plain(flip=1.0))[0]
    x0, y0, x1, y1 = record.annotations[-1].box
    assert sample.truth.crowds.tolist() == [[80 - x1, y0, 80 - x0, y1]]
    assert sample.truth.labels.tolist() == [1, 2, 3]


def test_intensity_changes_leave_the_geometry_alone(plain):
    dataset = dataset_of([painted_record()])
    strengths = {"brightness": 0.2, "contrast": 0.4, "gamma": 0.5}
    geometry = CHANGES["all"]
    before = TrainingSamples(dataset, plain(**geometry))
    after = TrainingSamples(dataset, plain(**geometry, **strengths))
    for number in range(5):
        first, second = before[number], after[number]
        assert not torch.equal(first.pixels, second.pixels)
        assert torch.equal(first.truth.boxes, second.truth.boxes)
        assert first.plan == second.plan
        for a, b in zip(first.truth.masks, second.truth.masks, strict=True):
            assert torch.equal(a.values, b.values)


def test_elastic_deformation_leaves_all_other_choices_as_they_were(plain):
    dataset = dataset_of([painted_record()])
    others = CHANGES["all"] | {"brightness": 0.2, "gamma": 0.3, "noise": 0.1, "elastic": 0.0}
    without = TrainingSamples(dataset, plain(**others))
    hardly = TrainingSamples(dataset, plain(**others | {"elastic": 1e-6}))
    strongly = TrainingSamples(dataset, plain(**others | {"elastic": 3.0}))
    for number in range(5):
        first, second = without[number], hardly[number]
        assert first.plan == second.plan
        assert torch.equal(first.truth.labels, second.truth.labels)
        torch.testing.assert_close(first.pixels, second.pixels, atol=1e-2, rtol=0)
        assert_same(strongly[number], strongly[number])
        assert not torch.allclose(first.pixels, strongly[number].pixels, atol=1.0)


def test_brightness_contrast_and_gamma_do_what_they_say(plain):
    record = painted_record()
    dataset = dataset_of([record])
    levels = record.read().astype(np.float64)
    shifts, stretches = [], []
    for number in range(20):
        bright = TrainingSamples(dataset, plain(brightness=0.1))[number].pixels
        shift = bright.permute(1, 2, 0).numpy() - levels
        assert shift.std() < 1e-4
        shifts.append(shift.mean() / 255)
        contrast = TrainingSamples(dataset, plain(contrast=0.3))[number].pixels.numpy()
        assert abs(contrast.mean() - levels.mean()) < 0.01
        stretches.append(np.log(contrast.std() / levels.std()))
        gamma = TrainingSamples(dataset, plain(gamma=0.4))[number].pixels.numpy()
        assert gamma.min() == 0  # black and white stay
        value = gamma.max() / 255
        assert np.exp(-0.4) <= np.log(value) / np.log(LEVEL / 255) <= np.exp(0.4)
    assert max(map(abs, shifts)) <= 0.1 and min(shifts) < 0 < max(shifts)
    assert max(map(abs, stretches)) <= 0.3 + 1e-6 and min(stretches) < 0 < max(stretches)


def test_with_the_newer_changes_off_every_bit_is_as_before_them(plain):
    """The digest was taken before sides, pasting, colours and repetition were there."""
    dataset = dataset_of([painted_record(i) for i in range(3)])
    mirrors = {"flip": 0.5, "flip_vertical": 0.5, "transpose": 0.5}
    recipe = plain(zoom=1.5, seed=4, **mirrors, crop=64, brightness=0.25)
    samples, digest = TrainingSamples(dataset, recipe), hashlib.sha256()
    for s in (samples[n] for n in range(8)):
        digest.update(f"{s.number} {s.name} {s.plan.size}".encode())
        masks = (m.values for m in s.truth.masks)
        for v in (s.pixels, s.truth.boxes, s.truth.labels, s.truth.crowds, *masks):
            digest.update(v.numpy().tobytes())
    expected = "927becd8fbb0c20ef9803c17fa2158b1d0261cedaee420df24d1a6e61b78fe5f"
    assert digest.hexdigest() == expected


def test_draws_of_scale_and_intensity_are_as_before_newer_changes(plain):
    """Their last bits differ between machines, because powers do."""
    dataset = dataset_of([painted_record(i) for i in range(3)])
    recipe = plain(seed=4, scale=(0.7, 1.6), contrast=0.3, gamma=0.3, brightness=0.1)
    samples = TrainingSamples(dataset, recipe)
    before = [((51, 68), 125224.7), ((57, 75), 238702.9), ((79, 106), 178624.7)]
    for number, (size, total) in enumerate(before):
        assert samples[number].plan.size == size
        assert float(samples[number].pixels.double().sum()) == pytest.approx(total, rel=1e-5)


def with_side(recipe, short_side, long_side):
    preprocessing = replace(recipe.model.preprocessing, short_side=short_side, long_side=long_side)
    return replace(recipe, model=replace(recipe.model, preprocessing=preprocessing))


def test_sides_take_the_place_of_the_shorter_side_and_scale_its_bound(plain):
    """An image of 60 x 80; the bound of 80 on the longer side makes 60 of 66."""
    sides = (30, 66, 120)
    samples = TrainingSamples(dataset_of([painted_record()]), with_side(plain(sides=sides), 66, 80))
    sizes = [samples[n].plan.size for n in range(60)]
    bounds = {side: round(80 * side / 66) for side in sides}
    assert bounds == {30: 36, 66: 80, 120: 145}
    expected = {(27, 36), (60, 80), (109, 145)}
    assert set(sizes) == expected
    assert min(sizes.count(size) for size in expected) > 8
    number = sizes.index((109, 145))
    assert samples[number].plan.factors == (145 / 80, 145 / 80)
    x0, y0, x1, y1 = painted_record().annotations[1].box
    box = np.array([x0, y0, x1, y1]) * 145 / 80
    np.testing.assert_allclose(samples[number].truth.boxes[1], box, rtol=1e-6)


def test_the_side_of_the_test_is_the_test_time_sample(plain):
    dataset = dataset_of([painted_record()])
    still = with_side(plain(), 90, 130)
    assert_same(
        TrainingSamples(dataset, with_side(plain(sides=(90,)), 90, 130))[0],
        TrainingSamples(dataset, still)[0],
    )


def test_only_finer_scales_are_cropped(plain):
    """The paper crops the finer scales; at the others the network sees the whole image."""
    recipe = with_side(plain(sides=(48, 60, 61, 120), crop=60, crop_above=60), 60, 0)
    samples = TrainingSamples(dataset_of([painted_record()]), recipe)
    seen = [samples[n].plan for n in range(60)]
    expected = {(48, 64), (60, 80), (60, 60)}
    assert {plan.size for plan in seen} == expected
    factors = {round(p.factors[0], 4) for p in seen if p.size == (60, 60)}
    assert factors == {round(61 / 60, 4), 2.0}


@pytest.mark.parametrize(("draw", "middle"), [("log", 0.4), ("uniform", 0.85)])
def test_scales_are_as_frequent_per_octave_or_per_unit(plain, draw, middle):
    """Medians of 0.1 to 1.6: the geometric and the arithmetic middle."""
    recipe = plain(scale=(0.1, 1.6), scale_draw=draw)
    samples = TrainingSamples(dataset_of([painted_record()]), recipe)
    factors = np.array([samples[n].plan.factors[0] for n in range(200)])
    assert 0.1 <= factors.min() < 0.16 and 1.5 < factors.max() <= 1.6
    assert 70 <= (factors < middle).sum() <= 130


def test_large_scale_jitter_shows_squares_and_drops_what_is_cut_away(plain):
    recipe = plain(scale=(0.1, 2.0), scale_draw="uniform", crop=64)
    samples = TrainingSamples(dataset_of([painted_record()]), recipe)
    counts = []
    for sample in (samples[n] for n in range(60)):
        assert sample.pixels.shape == (3, 64, 64)
        counts.append(len(sample.truth.masks))
        for box, mask in zip(sample.truth.boxes, sample.truth.masks, strict=True):
            rows, columns = np.nonzero(full_mask(mask, (64, 64)) >= 0.5)
            tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (box.numpy()[:2] <= tight[:2] + 0.5).all()
            assert (box.numpy()[2:] >= tight[2:] - 0.5).all()
            if sample.plan.factors[0] >= 0.5:  # smaller ones lose bars of 4 pixels, not the box
                np.testing.assert_allclose(box, tight, atol=1.001)
        shrunk = 80 * sample.plan.factors[1] <= 64 and 60 * sample.plan.factors[0] <= 64
        assert not shrunk or counts[-1] == 3  # nothing is lost by shrinking
    assert 0 < counts.count(3) < 60


@pytest.mark.parametrize(
    "geometry", [{"flip": 0.5}, {"transpose": 0.5}, {"crop": 56}, CHANGES["all"]]
)
def test_pasted_objects_have_the_masks_that_are_seen(plain, geometry):
    """At scale 1 a label's masks are together what its channel shows, up to dropped remains."""
    geometry = {n: v for n, v in geometry.items() if n != "scale"}
    dataset = dataset_of([painted_record(), painted_record(1)])
    alone = TrainingSamples(dataset, plain(**geometry))
    samples = TrainingSamples(dataset, plain(**geometry, paste=1.0))
    more = 0
    for number in range(20):
        sample, before = samples[number], alone[number]
        assert sample.plan == before.plan and sample.name == before.name
        size = sample.plan.size
        truth, masks = sample.truth, [full_mask(m, size) for m in sample.truth.masks]
        assert len(masks) == len(truth.labels) == len(truth.boxes)
        for label in (1, 2, 3):
            own = [m for m, n in zip(masks, truth.labels, strict=True) if n == label]
            shown = sample.pixels[label - 1].numpy() / LEVEL
            together = np.sum([np.zeros(size), *own], axis=0)
            assert (together <= shown).all()  # no pixel twice, none that is not seen
            assert (shown - together).sum() <= 0.15 * 2 * 24 * 30
        for box, mask in zip(truth.boxes, masks, strict=True):
            rows, columns = np.nonzero(mask >= 0.5)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, tight, atol=0.5)
        more += len(masks) > len(before.truth.masks)
    assert more > 3


def test_pasting_happens_as_often_as_asked_and_changes_nothing_else(plain):
    dataset = dataset_of([painted_record(i) for i in range(2)])
    settings = {**CHANGES["all"], "brightness": 0.1, "noise": 0.05, "hue": 0.2}
    alone = TrainingSamples(dataset, plain(**settings))
    samples = TrainingSamples(dataset, plain(**settings, paste=0.5))
    pairs = [(alone[n], samples[n]) for n in range(100)]
    same = [torch.equal(a.pixels, b.pixels) for a, b in pairs]
    assert 35 <= sum(same) <= 70  # a paste may be empty too
    assert all(a.plan == b.plan for a, b in pairs)


def test_images_of_rare_categories_come_more_often(plain):
    """Category 30 in 1 of 16 images, threshold 1/4: twice an epoch; the others once."""
    common = replace(painted_record(), annotations=painted_record().annotations[:2])
    images = [
        replace(common if i != 5 else painted_record(), file_name=f"{i}.png") for i in range(16)
    ]
    recipe = plain()
    recipe = replace(recipe, training=replace(recipe.training, repeat_threshold=0.25))
    samples = TrainingSamples(dataset_of(images), recipe)
    for epoch in range(3):
        names = [samples[17 * epoch + i].name for i in range(17)]
        assert sorted(names) == sorted([*(f"{i}.png" for i in range(16)), "5.png"])
    twice = [n for n in range(17) if samples[n].name == "5.png"]
    assert len(twice) == 2
    assert TrainingSamples(dataset_of(images), recipe)[40].name == samples[40].name


def test_images_with_room_for_more_crops_come_more_often(plain):
    """A crop of half the sides, power 1/2: 4 crops fit, 2 samples; where none fits, 1."""
    record = painted_record()
    half = (record.height // 2) * (record.width // 2)
    crop = round(half**0.5)
    recipe = plain(crop=crop)
    model = replace(
        recipe.model,
        preprocessing=replace(recipe.model.preprocessing, short_side=0, long_side=0, zoom=1.0),
    )
    small = replace(record, file_name="small.png", height=crop // 2, width=crop // 2)
    images = [replace(record, file_name=f"{i}.png") for i in range(3)] + [small]
    for power, many in ((0.0, 1), (0.5, 2), (1.0, 4)):
        training = replace(recipe.training, repeat_crops=power)
        changed = replace(recipe, model=model, training=training)
        samples = TrainingSamples(dataset_of(images), changed)
        order = [samples.images[i].file_name for i in samples._epoch_order(1)]
        assert order.count("small.png") == 1
        assert {order.count(f"{i}.png") for i in range(3)} <= {many, many + 1}
        assert abs(len(order) - 3 * many - 1) <= 1
        whole = replace(training.augmentation, crop_above=record.height)
        changed = replace(changed, training=replace(training, augmentation=whole))
        assert len(TrainingSamples(dataset_of(images), changed)._epoch_order(1)) == 4


@pytest.mark.parametrize("rounding", ["nearest", "down"])
@pytest.mark.parametrize("resize", ["levels", "float"])
def test_without_changes_it_is_the_input_of_prediction(plain, rounding, resize):
    recipe = plain()
    conventions = replace(RELEASE, resize=resize, size_rounding=rounding)
    preprocessing = replace(
        recipe.model.preprocessing, short_side=83, long_side=100, stretch=(1.0, 99.0)
    )
    recipe = replace(
        recipe, model=replace(recipe.model, conventions=conventions, preprocessing=preprocessing)
    )
    record = painted_record()
    pixels, plan = prepare(record.read(), preprocessing, conventions)
    sample = TrainingSamples(dataset_of([record]), recipe)[0]
    assert torch.equal(sample.pixels, pixels)
    assert sample.plan == plan and sample.original_size == (60, 80)


def test_a_small_image_lies_in_a_larger_crop_on_the_mean(plain):
    recipe = plain(crop=100)
    preprocessing = replace(recipe.model.preprocessing, mean=(30.0, 40.0, 50.0))
    recipe = replace(recipe, model=replace(recipe.model, preprocessing=preprocessing))
    dataset = dataset_of([painted_record()])
    corners = set()
    for number in range(10):
        sample = TrainingSamples(dataset, recipe)[number]
        assert sample.pixels.shape == (3, 100, 100)
        outside = (sample.pixels == 0).all(dim=0)
        assert outside.sum() == 100 * 100 - 60 * 80
        rows, columns = (~outside).nonzero().unbind(dim=1)
        assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (60, 80)
        corners.add((int(rows.min()), int(columns.min())))
        assert sample.truth.labels.tolist() == [1, 2, 3]
    assert len(corners) > 5


def test_images_without_objects_are_left_out(plain):
    crowd_only = replace(
        painted_record(1), annotations=painted_record(1).annotations[-1:], file_name="crowd"
    )
    empty = replace(painted_record(2), annotations=(), file_name="empty")
    samples = TrainingSamples(dataset_of([empty, painted_record(), crowd_only]), plain())
    assert [r.file_name for r in samples.images] == ["0.png"]


def test_an_epoch_is_a_permutation_and_each_has_its_own(plain):
    dataset = dataset_of([painted_record(i) for i in range(20)])
    samples = TrainingSamples(dataset, plain())
    first = [samples[n].name for n in range(20)]
    second = [samples[n].name for n in range(20, 40)]
    assert sorted(first) == sorted(second) == sorted(f"{i}.png" for i in range(20))
    assert first != second and first != sorted(first)


NEWER = {
    "scale_draw": "uniform",
    "paste": 0.8,
    "saturation": 0.3,
    "hue": 0.1,
    "channel_gain": 0.2,
    "blur": 1.0,
    "noise": 0.05,
}


@pytest.mark.parametrize("newer", [{}, NEWER], ids=["plain", "newer"])
def test_a_sample_depends_on_seed_and_number_alone(plain, newer):
    dataset = dataset_of([painted_record(i) for i in range(3)])
    recipe = plain(**CHANGES["all"], **newer, brightness=0.1)
    forward = TrainingSamples(dataset, recipe)
    samples = [forward[n] for n in range(8)]
    for n in (7, 2, 5, 2):  # another order, another object, a mask cache in another state
        assert_same(TrainingSamples(dataset, recipe)[n], samples[n])
        assert_same(forward[n], samples[n])
    other = TrainingSamples(dataset, plain(seed=1, **CHANGES["all"], brightness=0.1))
    assert any(not torch.equal(other[n].pixels, samples[n].pixels) for n in range(3))


def _digest(arguments):
    dataset, recipe, number = arguments
    return TrainingSamples(dataset, recipe)[number].pixels.numpy().tobytes()


def test_other_processes_make_the_same_sample(scene_set, tiny):
    dataset = Dataset(name="two", categories=scene_set.categories, images=scene_set.images[:2])
    here = [_digest((dataset, tiny, n)) for n in range(3)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.map(_digest, [(dataset, tiny, n) for n in range(3)])
    assert here == there


def test_workers_change_nothing(scene_set, tiny):
    def steps(workers):
        recipe = replace(tiny, training=replace(tiny.training, workers=workers, accumulate=2))
        loader = iter(training_loader(scene_set, recipe, 3))
        return [next(loader) for _ in range(4)]

    for alone, helped in zip(steps(0), steps(2), strict=True):
        for a, b in zip(alone, helped, strict=True):
            assert a.names == b.names and a.numbers == b.numbers
            assert torch.equal(a.images.pixels, b.images.pixels)
            for x, y in zip(a.truths, b.truths, strict=True):
                assert torch.equal(x.boxes, y.boxes) and torch.equal(x.labels, y.labels)
                for m, n in zip(x.masks, y.masks, strict=True):
                    assert torch.equal(m.values, n.values)


def test_chance_of_targets_differs_by_number_and_seed():
    def draw(seed, number):
        return torch.rand(4, generator=target_generator(seed, number)).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert len({tuple(draw(s, n)) for s in range(3) for n in range(3)}) == 9
