"""Scales, mirror image and networks together, against loops over single RoIs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.core.boxes import clip_boxes, decode_boxes
from fcis.core.errors import InputError
from fcis.inference.predictor import Predictor
from fcis.inference.preprocess import collate, prepare
from fcis.inference.test_time.ensemble import Averaging, Ensemble, unite
from fcis.inference.test_time.scales import read_scales
from fcis.model.detector import Detector
from fcis.recipe.types import BackboneRecipe
from fcis.structures import Proposals
from fcis.weights.weights_file import WeightsInfo

SAMPLINGS = ("align", "pool", "native")


def predictor_of(networks, **settings):
    found = Predictor(networks[0], WeightsInfo(model=networks[0].recipe))
    names = [f"{i}.safetensors" for i in range(len(networks))]
    found.ensemble = Ensemble(networks, names, Averaging(**settings))
    return found


def plain(network):
    return Predictor(network, WeightsInfo(model=network.recipe))


def same(found, expected):
    assert len(found) == len(expected) > 5 and found.size == expected.size
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.masks, expected.masks)


def different(found, expected):
    return len(found) != len(expected) or not np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_same_network_several_times_is_that_network(lively, picture, sampling):
    network = lively(sampling=sampling)
    (expected,) = plain(network).detect([picture])
    for count in (1, 2, 3):
        (found,) = predictor_of([network] * count).detect([picture])
        same(found, expected)
        np.testing.assert_array_equal(found.image, picture)


def test_nothing_to_average_is_plain(lively):
    one = lively()
    assert Ensemble([one], ["a"], Averaging()).is_plain
    assert Ensemble([one], ["a"], Averaging(scales=read_scales(["1x"]))).is_plain
    assert not Ensemble([one], ["a"], Averaging(scales=read_scales(["2x"]))).is_plain
    assert not Ensemble([one], ["a"], Averaging(flip=True)).is_plain
    assert not Ensemble([one, one], ["a", "a"], Averaging()).is_plain


def test_one_scale_by_another_name_is_the_weights_own(lively, picture):
    """96 px of shorter side are what a zoom of 1 makes of this image."""
    network = lively()
    (expected,) = plain(network).detect([picture])
    (found,) = predictor_of([network], scales=read_scales([96])).detect([picture])
    same(found, expected)


def alone(network, image, level, boxes, is_mirrored):
    """Probabilities and deltas of one RoI at a time, in pixels of the original image."""
    pixels, plan = prepare(image, level)
    batch = collate([(pixels, plan)], [image.shape[:2]])
    if is_mirrored:
        batch = replace(batch, pixels=batch.pixels.flip(3))
    _, maps = network(batch)
    probabilities, deltas = [], []
    for box in boxes.tolist():
        x0, y0, x1, y1 = (n * plan.factors[0] for n in box)
        if is_mirrored:
            x0, x1 = plan.size[1] - x1, plan.size[1] - x0
        found = network.score_rois(
            maps, torch.tensor([[x0, y0, x1, y1]]), torch.zeros(1, dtype=torch.int64)
        )
        probabilities.append(found.class_logits[0].softmax(0))
        dx, dy, dw, dh = found.box_deltas[0]
        deltas.append(torch.stack([-dx if is_mirrored else dx, dy, dw, dh]))
    return torch.stack(probabilities), torch.stack(deltas)


@torch.inference_mode()
def slowly(networks, image, factors, side, boxes):
    """Means over networks and mirror images, each RoI from the network's scale that suits it."""
    probabilities, deltas = [], []
    for network in networks:
        own = network.recipe.preprocessing
        home = own.zoom
        levels = [replace(own, zoom=home * factor) for factor in factors]
        for is_mirrored in (False, True):
            each = [alone(network, image, level, boxes, is_mirrored) for level in levels]
            for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
                areas = [(x1 - x0) * (y1 - y0) * level.zoom**2 for level in levels]
                off = [abs(area - side**2) for area in areas]
                chosen = off.index(min(off))
                probabilities.append((i, each[chosen][0][i]))
                deltas.append((i, each[chosen][1][i]))
    return tuple(
        torch.stack([_mean([v for j, v in values if j == i]) for i in range(len(boxes))])
        for values in (probabilities, deltas)
    )


def _mean(values):
    return torch.stack(values).mean(dim=0)


@pytest.mark.slow
def test_against_one_roi_at_a_time(lively, picture, monkeypatch):
    """Two networks of different zoom, three scales, and the mirror image."""
    other = replace(lively().recipe.preprocessing, zoom=1.5)
    networks = [lively(0), lively(1, preprocessing=other)]
    factors, side = (0.5, 1.0, 2.0), 30.0
    heard = {}
    instances = Detector.assemble_instances

    def listen(self, boxes, probabilities, frame, read_grids):
        heard.update(boxes=boxes, probabilities=probabilities, frame=frame)
        return instances(self, boxes, probabilities, frame, read_grids)

    monkeypatch.setattr(Detector, "assemble_instances", listen)
    scales = read_scales([f"{factor}x" for factor in factors])
    ensemble = Ensemble(networks, ["a", "b"], Averaging(scales=scales, flip=True, roi_side=side))
    ensemble.detect(ensemble.prepare(picture), picture.shape[:2])

    proposals = []
    for network in networks:
        recipe = network.recipe
        batch = collate([prepare(picture, recipe.preprocessing)], [picture.shape[:2]])
        with torch.inference_mode():
            output, _ = network(batch)
            proposals.append(network.rpn_proposals(output, batch).boxes / recipe.preprocessing.zoom)
    boxes = torch.cat(proposals)
    count = len(boxes)
    torch.testing.assert_close(heard["boxes"][:count], boxes)
    first, deltas = slowly(networks, picture, factors, side, boxes)
    torch.testing.assert_close(heard["probabilities"][:count], first, rtol=0, atol=1e-4)
    sizes = torch.tensor([96.0, 120.0]).expand(count, 2)
    refined = clip_boxes(decode_boxes(boxes, deltas), sizes)
    torch.testing.assert_close(heard["boxes"][count:], refined, rtol=0, atol=1e-2)
    # the boxes that were heard, because a rounding may change the scale
    second, _ = slowly(networks, picture, factors, side, heard["boxes"][count:])
    torch.testing.assert_close(heard["probabilities"][count:], second, rtol=0, atol=1e-4)
    assert len(heard["boxes"]) == 2 * count and heard["frame"].original == (96, 120)


def test_one_pass_scores_proposals_alone(lively, picture, monkeypatch):
    network = lively()
    network.recipe = replace(network.recipe, detection=replace(network.recipe.detection, passes=1))
    (expected,) = plain(network).detect([picture])
    (found,) = predictor_of([network, network]).detect([picture])
    same(found, expected)


def test_the_mirror_image_of_an_image_has_the_mirrored_instances(lively, picture):
    """With the mirror image averaged in, left and right change places and nothing else does.

    Proposals come from the image itself, so both images are given the same ones.
    """
    network = lively()
    square = np.ascontiguousarray(picture[:, :96])

    def detect(image, boxes):
        ensemble = Ensemble([network], ["a"], Averaging(flip=True))
        proposals = Proposals(
            boxes=boxes,
            image_index=torch.zeros(len(boxes), dtype=torch.int64),
            objectness=torch.ones(len(boxes)),
        )
        network.rpn_proposals = lambda output, batch: proposals
        try:
            return ensemble.detect(ensemble.prepare(image), image.shape[:2])
        finally:
            del network.rpn_proposals

    def propose(image):
        recipe = network.recipe
        inputs = [prepare(image, recipe.preprocessing)]
        batch = collate(inputs, [image.shape[:2]])
        with torch.inference_mode():
            return network(batch)[0], batch

    boxes = network.rpn_proposals(*propose(square)).boxes
    mirrored = torch.stack([96 - boxes[:, 2], boxes[:, 1], 96 - boxes[:, 0], boxes[:, 3]], dim=1)
    upright = detect(square, boxes)
    turned = detect(np.ascontiguousarray(square[:, ::-1]), mirrored)
    assert len(upright) == len(turned) > 5
    np.testing.assert_allclose(turned.scores, upright.scores, atol=1e-5)
    assert turned.labels.tolist() == upright.labels.tolist()
    off = (turned.masks[:, :, ::-1] != upright.masks).mean()
    assert off < 1e-3, off


def test_categories_go_by_name(lively, picture):
    """A network whose categories are the same in another order adds nothing new."""
    network = lively(classes=("a", "b", "c"))
    other = lively(classes=("a", "b", "c"))
    order = [0, 3, 1, 2]  # what the other one calls its first category is our third
    layer = other.head.classes
    for array in (layer.weight, layer.bias):
        # the outermost axis of its maps is the category
        array.data.copy_(array.data.unflatten(0, (4, -1))[order].flatten(0, 1))
    other.recipe = replace(other.recipe, class_names=("c", "a", "b"))
    (expected,) = plain(network).detect([picture])
    (found,) = predictor_of([network, other]).detect([picture])
    assert found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    assert found.class_names == ("background", "a", "b", "c")
    assert found.category_ids == (0, 11, 12, 13)


@pytest.mark.parametrize(
    ("classes", "what"),
    [(("a", "b"), "one alone has c"), (("a", "b", "d"), "one alone has c, d")],
)
def test_other_categories_are_refused(lively, classes, what):
    message = rf"^0\.safetensors and 1\.safetensors: do not have the same categories \({what}\);"
    with pytest.raises(InputError, match=message):
        predictor_of([lively(), lively(classes=classes)])


def test_names_that_come_twice_must_stand_at_the_same_places(lively):
    twice, moved = lively(classes=("a", "a", "b")), lively(classes=("b", "a", "a"))
    predictor_of([twice, twice])
    with pytest.raises(InputError, match=r"categories \(names come twice\)"):
        predictor_of([twice, moved])


@pytest.mark.parametrize("side", [0.0, -3.0, float("nan"), float("inf")])
def test_a_side_that_is_none_is_refused(side):
    with pytest.raises(InputError, match=r"^RoI side .*: expected a number of pixels above 0"):
        Averaging(roi_side=side)


def test_proposals_of_several_networks_come_once():
    first = torch.tensor([[0.0, 0, 40, 40], [0, 0, 40, 40], [8, 8, 20, 20]])
    second = torch.tensor([[8.0, 8, 20, 20], [8, 8, 20, 20.01], [1, 1, 9, 9]])
    third = torch.tensor([[1.0, 1, 9, 9.0001], [2, 2, 9, 9]])
    united = unite([first, second, third], torch.tensor([2.0, 2.0]))
    # what one network repeats stays, as in prediction with it alone
    expected = torch.cat([first, second[1:], third[1:]])
    assert torch.equal(united, expected)
    none = torch.zeros(0, 4)
    assert torch.equal(unite([none, second, none], torch.tensor([1.0, 1.0])), second)
    assert unite([none], torch.tensor([1.0, 1.0])).shape == (0, 4)


def test_networks_of_every_kind_work_together(lively, picture):
    """Other backbone, stride, anchors, parts, samples, size, and sampling."""
    base = lively().recipe
    other = lively(
        3,
        sampling="native",
        backbone=BackboneRecipe(
            depths=(1, 1, 1, 1), widths=(4, 4, 8, 8), block="basic", stem_width=4, norm="group"
        ),
        head=replace(base.head, k=5, out_size=15),
        rpn=replace(base.rpn, anchor_sizes=(20.0, 60.0, 90.0), post_nms=30),
        preprocessing=replace(base.preprocessing, short_side=128, long_side=200, mean=(9.0,) * 3),
    )
    assert other.recipe.backbone.stride != base.backbone.stride
    for networks in ([lively(), other], [other, lively()]):
        (found,) = predictor_of(networks, flip=True).detect([picture])
        assert len(found) > 5 and found.size == (96, 120)
        assert different(found, plain(networks[0]).detect([picture])[0])


def test_an_image_gets_the_same_in_a_batch_as_alone(lively, picture):
    predictor = predictor_of([lively(0), lively(1)], flip=True, scales=read_scales(["0.5x", "1x"]))
    images = [picture, np.ascontiguousarray(picture[:64, :70]), picture[::-1].copy()]
    for found, image in zip(predictor.predict(images, score_threshold=0, batch=3), images,
                            strict=True):  # fmt: skip
        same(found, predictor.predict(image, score_threshold=0))


def test_an_image_without_proposals_has_no_instances(lively, picture):
    base = lively().recipe
    blind = lively(rpn=replace(base.rpn, min_size=1000.0))
    (found,) = predictor_of([blind, blind], flip=True, scales=read_scales(["1x", "2x"])).detect(
        [picture]
    )
    assert len(found) == 0 and found.size == (96, 120)


def test_each_size_is_prepared_once(lively, picture):
    one, two = lively(0), lively(1)
    ensemble = Ensemble([one, two], ["a", "b"], Averaging(scales=read_scales(["1x", "2x", 96])))
    inputs = ensemble.prepare(picture)
    assert len(inputs) == 3
    own = inputs[one.recipe.preprocessing]
    assert own[1].size == (96, 120)
    assert sorted(plan.size for _, plan in inputs.values()) == [(96, 120), (96, 120), (192, 240)]


def test_limits_are_for_networks_that_stretch_alike(lively, picture):
    prep = lively().recipe.preprocessing
    stretched = lively(0, preprocessing=replace(prep, stretch=(1.0, 99.0)))
    other = lively(0, preprocessing=replace(prep, stretch=(5.0, 95.0)))
    ensemble = Ensemble([stretched, other], ["a", "b"], Averaging())
    free, held = ensemble.prepare(picture), ensemble.prepare(picture, (0, 128))
    first, second = (n.recipe.preprocessing for n in (stretched, other))
    assert not torch.equal(free[first][0], held[first][0])
    assert torch.equal(free[second][0], held[second][0])


def test_an_image_with_too_many_channels_is_refused(lively):
    ensemble = Ensemble([lively()], ["a"], Averaging(flip=True))
    with pytest.raises(InputError, match="has 4 channels, the network takes 3"):
        ensemble.prepare(np.zeros((20, 20, 4), dtype=np.uint8))


def test_networks_are_known_in_their_order(lively):
    one, two = lively(0), lively(1)
    assert Ensemble([two, one], ["b", "a"], Averaging()).networks == (two, one)


def test_the_frame_is_that_of_the_first_network(lively, picture):
    recipe = replace(lively().recipe.preprocessing, zoom=2.0)
    batch = collate([prepare(picture, recipe)], [(96, 120)])
    frame = batch.frame(0)
    assert frame.size.tolist() == [192, 240] and frame.scale.tolist() == [2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_all_three_at_the_scales_of_the_paper(lively, sampling):
    """An eighth of the paper's shorter sides, two networks, and the mirror image."""
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    prep = replace(lively().recipe.preprocessing, short_side=75, long_side=125)
    networks = [lively(seed, sampling=sampling, preprocessing=prep) for seed in (0, 1)]
    predictor = predictor_of(
        networks, scales=read_scales([60, 72, 86, 108, 150, 175]), flip=True, roi_side=28.0
    )
    found, again = predictor.predict([image, image], score_threshold=0)
    same(found, again)
    assert different(found, plain(networks[0]).detect([image])[0])
    for box, mask in zip(found.boxes, found.masks, strict=True):
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
