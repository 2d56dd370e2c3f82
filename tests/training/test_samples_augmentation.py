"""What augmentation makes of an image, and of its boxes and masks."""

import hashlib

import numpy as np
import pytest
import torch

from fcis.training.samples import TrainingSamples

from .conftest import LEVEL, dataset_of
from .samples_cases import CHANGES, assert_same, full_mask, painted_record


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
