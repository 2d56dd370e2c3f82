import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.model.build import build_model
from fcis.model.fcis import FCIS
from fcis.recipe.conventions import with_conventions
from fcis.recipe.types import ModelRecipe, Recipe
from fcis.structures import ImageBatch, RPNOutput, ScoreMaps
from fcis.training.batch import ObjectMask, TrainingBatch, Truth, collate_samples
from fcis.training.losses import (
    Losses,
    RoILosses,
    compute_losses,
    image_losses,
    roi_losses,
    rpn_losses,
)
from fcis.training.samples import TrainingSamples
from fcis.training.targets import IGNORED, AnchorTargets, RoITargets

from .conftest import dataset_of, record_of

LN2 = math.log(2)
TERMS = ("rpn_class", "rpn_box", "roi_class", "roi_mask", "roi_box")


def with_targets(recipe, **changes):
    targets = replace(recipe.training.targets, **changes)
    return replace(recipe, training=replace(recipe.training, targets=targets))


def release(classes=2, **targets):
    """A recipe with the release's conventions; only head and conventions matter here."""
    names = tuple(f"c{i}" for i in range(classes))
    model = ModelRecipe(class_names=names, category_ids=tuple(range(classes)))
    return with_targets(Recipe(name="test", model=model), **targets)


def reader(recipe):
    """A network without weights: what a RoI reads from its maps has none."""
    with torch.device("meta"):
        return FCIS(recipe.model)


def rpn_output(anchors=10):
    return RPNOutput(
        logits=torch.zeros(1, 1, anchors, 1, 2),
        deltas=torch.zeros(1, 1, anchors, 1, 4),
        anchors=torch.zeros(1, anchors, 1, 4),
        cells=torch.tensor([[1, anchors]]),
        stride=16,
    )


def anchor_targets_of(labels, deltas=None):
    zero = torch.zeros(len(labels), 4)
    return AnchorTargets(
        labels=torch.tensor(labels), deltas=zero if deltas is None else torch.tensor(deltas)
    )


def test_rpn_losses_in_closed_form():
    """The class term is a mean over the labelled anchors, the box term is divided by 256."""
    labels = [1, 1, 0, 0, 0] + [IGNORED] * 5
    deltas = [[0.05, 0, 0, 0], [1, -2, 0, 0]] + [[9.0, 9, 9, 9]] * 8  # 9: of no positive anchor
    classes, boxes = rpn_losses(rpn_output(), 0, anchor_targets_of(labels, deltas), 256)
    assert classes.item() == pytest.approx(LN2)
    # sigma 3: 4.5 d^2 below 1/9, |d| - 1/18 above
    expected = (4.5 * 0.05**2 + (1 - 1 / 18) + (2 - 1 / 18)) / 256
    assert boxes.item() == pytest.approx(expected)
    output = rpn_output()
    output.logits[0, 0, :, 0, 1] = math.log(3)  # probability 3/4 of an object
    classes, _ = rpn_losses(output, 0, anchor_targets_of(labels), 256)
    assert classes.item() == pytest.approx((2 * math.log(4 / 3) + 3 * math.log(4)) / 5)


def test_rpn_losses_without_labels_are_zero():
    classes, boxes = rpn_losses(rpn_output(), 0, anchor_targets_of([IGNORED] * 10), 256)
    assert classes.item() == boxes.item() == 0


def maps_of(values=None, *, images=1, classes=2):
    shape = (images, 12, 12, 49, 2, classes + 1)
    return ScoreMaps(
        classes=torch.zeros(shape) if values is None else values,
        boxes=torch.zeros(images, 12, 12, 49, 4),
        cells=torch.tensor([[12, 12]] * images),
        stride=16,
    )


def truth_of(boxes, labels):
    """Objects that fill their boxes."""
    masks = tuple(
        ObjectMask(top=int(y0), left=int(x0), values=torch.ones(int(y1 - y0), int(x1 - x0)))
        for x0, y0, x1, y1 in boxes
    )
    return Truth(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        masks=masks,
        crowds=torch.zeros(0, 4),
    )


def batch_of(*truths, pixels=None):
    size = (192, 192)
    count = len(truths)
    return TrainingBatch(
        images=ImageBatch(
            pixels=torch.zeros(count, 3, *size) if pixels is None else pixels,
            sizes=torch.tensor([size] * count),
            scales=torch.ones(count, 2),
            original_sizes=torch.tensor([size] * count),
        ),
        truths=truths,
        numbers=tuple(range(count)),
        names=tuple(f"{i}.png" for i in range(count)),
    )


def rois_of(labels, *, box=(16.0, 16.0, 112.0, 144.0), deltas=0.0, image_index=None):
    count = len(labels)
    labels = torch.tensor(labels, dtype=torch.int64)
    index = torch.zeros(count, dtype=torch.int64)
    return RoITargets(
        boxes=torch.tensor([box] * count).reshape(-1, 4),
        image_index=index if image_index is None else torch.tensor(image_index),
        labels=labels,
        objects=torch.zeros(count, dtype=torch.int64),
        deltas=torch.full((count, 4), deltas) * (labels > 0)[:, None],
    )


BOX = (16.0, 16.0, 112.0, 144.0)


def test_one_positive_roi_of_128_in_closed_form():
    """Where nothing is known, a mask's loss is 10 ln 2 / 128 (reference 12.8)."""
    recipe = release(classes=2, ohem=False)
    targets = rois_of([2] + [0] * 127, deltas=0.5)
    losses = roi_losses(reader(recipe), maps_of(), targets, batch_of(truth_of([BOX], [2])), recipe)
    assert losses.masks[0].item() == pytest.approx(LN2, rel=1e-5)
    assert losses.masks[1:].abs().sum() == losses.boxes[1:].abs().sum() == 0
    classes, masks, boxes = image_losses(losses, targets, recipe, 1)
    assert classes.item() == pytest.approx(math.log(3))
    assert masks.item() == pytest.approx(10 * LN2 / 128, rel=1e-5)
    assert boxes.item() == pytest.approx(4 * 0.5 * 0.5**2 / 128)
    batch = batch_of(truth_of([BOX], [1]))
    far = roi_losses(reader(recipe), maps_of(), rois_of([1], deltas=3.0), batch, recipe)
    assert far.boxes.item() == pytest.approx(4 * (3 - 0.5))  # sigma 1


def test_masks_are_judged_by_the_pair_of_their_label():
    values = torch.zeros(1, 12, 12, 49, 2, 3)
    values[..., 1, 2] = math.log(9)  # inside score of category 2: probability 0.9
    values[..., 0, 1] = math.log(9)  # outside score of category 1: probability 0.1
    batch = batch_of(truth_of([BOX], [1]))
    recipe = release(classes=2, ohem=False)
    losses = roi_losses(reader(recipe), maps_of(values), rois_of([1, 2]), batch, recipe)
    assert losses.masks.tolist() == pytest.approx([-math.log(0.1), -math.log(0.9)], rel=1e-5)
    # the class score is the mean of the larger of both scores: 0, ln 9, ln 9
    assert losses.classes.tolist() == pytest.approx([math.log(19 / 9)] * 2, rel=1e-5)


def test_normalisers():
    recipe = release(ohem=False, rois=8)
    few = rois_of([1, 2, 0])  # fewer than there should be
    losses = RoILosses(
        classes=torch.tensor([1.0, 2.0, 6.0]),
        masks=torch.tensor([0.5, 0.25, 0.0]),
        boxes=torch.tensor([4.0, 12.0, 0.0]),
    )
    classes, masks, boxes = image_losses(losses, few, recipe, 1)
    assert (classes.item(), masks.item(), boxes.item()) == (3.0, 10 * 0.75 / 8, 2.0)
    paper = with_conventions(recipe, {"mask_loss_norm": "positives", "mask_loss_weight": 1.0})
    assert image_losses(losses, few, paper, 1)[1].item() == 0.375
    nothing = RoILosses(classes=torch.zeros(0), masks=torch.zeros(0), boxes=torch.zeros(0))
    for terms in image_losses(nothing, rois_of([]), paper, 2):
        assert terms.tolist() == [0, 0]


def test_only_the_hardest_rois_count():
    """The sum that decides has the mask's weight in it; each image is sorted by itself."""
    recipe = release(ohem=True, rois=2)
    targets = rois_of([1, 1, 0, 0, 0, 0], image_index=[0, 0, 0, 1, 1, 1])
    losses = RoILosses(
        classes=torch.tensor([1.0, 1.0, 3.0, 5.0, 7.0, 6.0]),
        masks=torch.tensor([0.3, 0.1, 0.0, 0.0, 0.0, 0.0]),  # 3 and 1 after weighting
        boxes=torch.tensor([0.0, 0.5, 0.0, 0.0, 0.0, 0.0]),  # totals 4, 2.5 and 3
    )
    classes, masks, boxes = image_losses(losses, targets, recipe, 2)
    assert classes.tolist() == [(1 + 3) / 2, (7 + 6) / 2]
    assert masks.tolist() == pytest.approx([10 * 0.3 / 2, 0])
    assert boxes.tolist() == [0, 0]


def test_no_gradient_comes_from_the_rois_left_out():
    """The gradient is that of a run on the chosen RoIs alone."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1, 12, 12, 49, 2, 3, generator=generator)
    corners = torch.rand(60, 2, generator=generator) * 80
    boxes = torch.cat([corners, corners + 30 + 60 * torch.rand(60, 2, generator=generator)], dim=1)
    labels = torch.randint(0, 3, (60,), generator=generator)
    targets = replace(
        rois_of(labels.tolist(), deltas=0.7), boxes=boxes, objects=torch.zeros_like(labels)
    )
    batch = batch_of(truth_of([BOX], [1]))

    def gradients(targets, recipe):
        maps = maps_of(values.clone().requires_grad_())
        maps.boxes.requires_grad_()
        per_roi = roi_losses(reader(recipe), maps, targets, batch, recipe)
        sum(image_losses(per_roi, targets, recipe, 1)).backward()
        return per_roi, maps.classes.grad, maps.boxes.grad

    recipe = release(ohem=True, rois=16)
    per_roi, classes, deltas = gradients(targets, recipe)
    total = per_roi.classes + 10 * per_roi.masks + per_roi.boxes
    hard = total.argsort(descending=True)[:16]
    assert 0 < (labels[hard] > 0).sum() < 16 or total[hard].min() >= total.sort().values[-16]
    chosen = RoITargets(
        boxes=targets.boxes[hard],
        image_index=targets.image_index[hard],
        labels=targets.labels[hard],
        objects=targets.objects[hard],
        deltas=targets.deltas[hard],
    )
    _, classes_alone, deltas_alone = gradients(chosen, with_targets(recipe, ohem=False))
    assert classes.abs().max() > 0 and deltas.abs().max() > 0
    torch.testing.assert_close(classes, classes_alone, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(deltas, deltas_alone, rtol=1e-5, atol=1e-8)


def test_the_total_is_the_mean_over_images_and_a_bad_term_is_named():
    terms = {
        "rpn_class": torch.tensor([1.0, 3.0]),
        "rpn_box": torch.tensor([0.0, 1.0]),
        "roi_class": torch.tensor([2.0, 2.0]),
        "roi_mask": torch.tensor([0.5, 0.5]),
        "roi_box": torch.tensor([0.0, 0.0]),
    }
    losses = Losses(terms=terms)
    assert losses.total().item() == 5.0
    assert losses.means() == {
        "rpn_class": 2.0, "rpn_box": 0.5, "roi_class": 2.0, "roi_mask": 0.5, "roi_box": 0.0
    }  # fmt: skip
    assert losses.first_bad(("a", "b")) is None
    bad = Losses(terms=terms | {"roi_mask": torch.tensor([0.5, math.nan])})
    assert bad.first_bad(("a", "b")) == ("b", "roi_mask")
    bad = Losses(terms=terms | {"rpn_box": torch.tensor([math.inf, 0.0])})
    assert bad.first_bad(("a", "b")) == ("a", "rpn_box")


def samples_of(dataset, recipe, numbers):
    samples = TrainingSamples(dataset, recipe)
    return [samples[n] for n in numbers]


def with_norm(recipe, norm):
    backbone = replace(recipe.model.backbone, norm=norm)
    return replace(recipe, model=replace(recipe.model, backbone=backbone))


@pytest.mark.parametrize("norm", ["group", "frozen"])
@pytest.mark.parametrize("ohem", [False, True])
def test_an_image_has_the_same_loss_whatever_it_is_batched_with(scene_set, tiny, norm, ohem):
    change = replace(tiny.training.augmentation, scale=(0.9, 1.1), crop=0)
    recipe = with_targets(with_norm(tiny, norm), ohem=ohem)
    recipe = replace(recipe, training=replace(recipe.training, augmentation=change))
    samples = samples_of(scene_set, recipe, range(3))
    assert len({s.plan.size for s in samples}) > 1
    model = build_model(recipe.model, seed=3)
    together = compute_losses(model, collate_samples(samples), recipe)
    for i, sample in enumerate(samples):
        alone = compute_losses(model, collate_samples([sample]), recipe)
        for term in TERMS:
            mine, other = together.terms[term][i].item(), alone.terms[term][0].item()
            assert mine == pytest.approx(other, rel=2e-4, abs=1e-6), term


def test_accumulated_batches_have_the_gradient_of_one_large_batch(scene_set, tiny):
    recipe = with_norm(tiny, "group")
    samples = samples_of(scene_set, recipe, range(4))

    def gradient(groups):
        model = build_model(recipe.model, seed=3)
        for group in groups:
            total = compute_losses(model, collate_samples(group), recipe).total()
            (total / len(groups)).backward()
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    large, small = gradient([samples]), gradient([samples[:2], samples[2:]])
    assert large.keys() == small.keys() and len(large) > 20
    for name, value in large.items():
        torch.testing.assert_close(
            small[name], value, rtol=1e-3, atol=1e-5 * float(value.abs().max()) + 1e-9, msg=name
        )


def test_losses_depend_on_the_numbers_of_the_samples(scene_set, tiny):
    recipe = with_norm(tiny, "group")
    (sample,) = samples_of(scene_set, recipe, [0])
    model = build_model(recipe.model)

    def classes(number):
        batch = collate_samples([replace(sample, number=number)])
        return compute_losses(model, batch, recipe).terms["rpn_class"].item()

    assert classes(0) == classes(0)
    assert classes(0) != classes(1)


def empty_sample(recipe):
    record = record_of([np.zeros((64, 64), dtype=bool)])
    sample = TrainingSamples(dataset_of([record]), recipe)[0]
    assert len(sample.truth.boxes) == 0
    return sample


@pytest.mark.parametrize("changes", [{}, {"sampling": "native", "mask_loss_norm": "positives"}])
@pytest.mark.parametrize("ohem", [False, True])
def test_images_without_objects_or_proposals_have_finite_losses(plain, changes, ohem):
    rows = {"truth_as_rois": False, **changes}
    recipe = with_targets(with_conventions(plain(), rows), ohem=ohem)
    batch = collate_samples([empty_sample(recipe)])
    for min_size in (4.0, 1e6):  # the second lets no proposal through
        rpn = replace(recipe.model.rpn, min_size=min_size)
        chosen = replace(recipe, model=replace(recipe.model, rpn=rpn))
        model = build_model(chosen.model)
        losses = compute_losses(model, batch, chosen)
        assert losses.first_bad(batch.names) is None
        assert losses.terms["roi_mask"].item() == losses.terms["roi_box"].item() == 0
        assert (losses.terms["roi_class"].item() == 0) == (min_size == 1e6)
        losses.total().backward()
        for parameter in model.parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all()


def test_a_network_gone_wrong_is_noticed(scene_set, tiny):
    batch = collate_samples(samples_of(scene_set, tiny, [0, 1]))
    for name in ("backbone.conv1.weight", "rpn.deltas.bias", "head.classes.bias"):
        for value in (math.nan, math.inf):
            model = build_model(tiny.model)
            with torch.no_grad():
                model.get_parameter(name).fill_(value)
            bad = compute_losses(model, batch, tiny).first_bad(batch.names)
            assert bad is not None and bad[0] in batch.names, (name, value)
