"""The losses of MNC: targets and terms against slow references, gradients, training."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from fcis.core.boxes import decode_boxes
from fcis.model.baselines.mnc import CascadeMaps, CascadeOutput
from fcis.model.build import build_model
from fcis.recipe.named import named_recipe
from fcis.recipe.types import MNCRecipe
from fcis.structures import ImageBatch
from fcis.training.batch import ObjectMask, TrainingBatch, Truth
from fcis.training.mnc_losses import (
    CascadeLosses,
    cascade_losses,
    delta_bound,
    hardest_rois,
    image_terms,
    instance_labels,
    mnc_losses,
    refined_rois,
    wanted_masks,
)
from fcis.training.systems import losses_of
from fcis.training.targets import RoITargets

SIZE = (64, 80)
FIRST = ("roi_class", "roi_instance", "roi_mask", "roi_box")
OBJECT = (8.0, 12.0, 40.0, 44.0)


def recipe_of(*, passes=2, norm="group", **targets):
    base = named_recipe("tiny")
    backbone = replace(base.model.backbone, norm=norm)
    model = replace(
        base.model,
        system="mnc",
        mnc=MNCRecipe(feature_grid=4, mask_grid=8, mask_hidden=8),
        backbone=backbone,
        rpn=replace(base.model.rpn, channels=8, post_nms=12),
        detection=replace(base.model.detection, passes=passes),
        class_names=("a", "b"),
        category_ids=(1, 2),
    )
    settings = replace(base.training.targets, **({"rois": 8} | targets))
    return replace(base, model=model, training=replace(base.training, targets=settings))


def object_mask(box, rows=slice(None), columns=slice(None)):
    """A mask that fills some rows and columns of its box."""
    x0, y0, x1, y1 = (int(n) for n in box)
    values = torch.zeros(y1 - y0, x1 - x0)
    values[rows, columns] = 1
    return ObjectMask(top=y0, left=x0, values=values)


def truth_of(boxes=(OBJECT,), labels=(1,), masks=None):
    masks = tuple(object_mask(box) for box in boxes) if masks is None else masks
    return Truth(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        masks=masks,
        crowds=torch.zeros(0, 4),
    )


def batch_of(*truths, seed=0):
    count = len(truths)
    pixels = torch.randn((count, 3, *SIZE), generator=torch.Generator().manual_seed(seed))
    return TrainingBatch(
        images=ImageBatch(
            pixels=pixels,
            sizes=torch.tensor([SIZE] * count),
            scales=torch.ones(count, 2),
            original_sizes=torch.tensor([SIZE] * count),
        ),
        truths=truths,
        numbers=tuple(range(count)),
        names=tuple(f"{i}.png" for i in range(count)),
    )


def rois_of(boxes, labels, image_index=None, deltas=0.0):
    labels = torch.tensor(labels, dtype=torch.int64)
    zero = torch.zeros_like(labels)
    return RoITargets(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        image_index=zero if image_index is None else torch.tensor(image_index),
        labels=labels,
        objects=zero,
        deltas=torch.full((len(labels), 4), deltas) * (labels > 0)[:, None],
    )


def output_of(count, *, classes=3, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    return CascadeOutput(
        masks=draw(count, side, side),
        classes=draw(count, classes),
        instances=draw(count, classes),
        deltas=draw(count, classes, 4) * 0.1,
    )


# Targets


def test_wanted_masks_are_the_object_at_the_samples():
    """A RoI twice as wide as its object: the left half of its samples."""
    truth = truth_of(masks=(object_mask(OBJECT, rows=slice(0, 16)),))
    rois = rois_of([(8.0, 12.0, 72.0, 44.0)], [1])
    wanted = wanted_masks(
        torch.zeros(1, 8, 8), rois, torch.tensor([0]), batch_of(truth), recipe_of()
    )
    expected = torch.zeros(8, 8)
    expected[:4, :4] = 1
    assert torch.equal(wanted[0], expected)


def labels_of(logits, box, mask):
    """The category of a RoI with such a mask."""
    recipe = recipe_of()
    recipe = replace(
        recipe,
        model=replace(recipe.model, detection=replace(recipe.model.detection, mask_threshold=0.4)),
    )
    batch = batch_of(truth_of(labels=(2,), masks=(mask,)))
    rois, positive = rois_of([box], [2]), torch.tensor([0])
    wanted = wanted_masks(logits, rois, positive, batch, recipe)
    return instance_labels(logits, wanted, rois, positive, batch, recipe).tolist()


def test_a_box_whose_mask_fits_holds_its_object():
    everything, nothing = torch.full((1, 8, 8), 9.0), torch.full((1, 8, 8), -9.0)
    mask = object_mask(OBJECT)
    assert labels_of(everything, OBJECT, mask) == [2]
    assert labels_of(nothing, OBJECT, mask) == [0]
    half = nothing.clone()
    half[:, :4] = 9.0
    assert labels_of(half, OBJECT, mask) == [2]  # an IoU of a half is enough
    half[:, 3, 0] = -9.0
    assert labels_of(half, OBJECT, mask) == [0]
    # probability 0.4 is inside, as at test
    near = torch.full((1, 8, 8), 0.41).logit()
    assert labels_of(near, OBJECT, mask) == [2]
    assert labels_of(torch.full((1, 8, 8), 0.39).logit(), OBJECT, mask) == [0]


def test_what_the_box_leaves_out_of_the_object_counts():
    """A third of the object, perfectly masked, is no instance."""
    everything = torch.full((1, 8, 8), 9.0)
    mask = object_mask((8.0, 12.0, 56.0, 44.0))
    assert labels_of(everything, (8.0, 12.0, 24.0, 44.0), mask) == [0]
    assert labels_of(everything, (8.0, 12.0, 40.0, 44.0), mask) == [2]


def test_background_stays_background():
    rois = rois_of([OBJECT, OBJECT], [0, 2])
    recipe, batch = recipe_of(), batch_of(truth_of(labels=(2,)))
    positive = torch.tensor([1])
    logits = torch.full((1, 8, 8), 9.0)
    wanted = wanted_masks(logits, rois, positive, batch, recipe)
    assert instance_labels(logits, wanted, rois, positive, batch, recipe).tolist() == [0, 2]


# Terms


def test_terms_of_each_roi():
    """Against the formulas, RoI by RoI."""
    recipe = recipe_of()
    batch = batch_of(truth_of(labels=(2,)))
    rois = rois_of(
        [OBJECT, (6.0, 10.0, 40.0, 46.0), (50.0, 0.0, 70.0, 20.0)], [2, 2, 0], deltas=0.7
    )
    found = output_of(3)
    losses = cascade_losses(found, rois, batch, recipe)
    stds = torch.tensor(recipe.model.head.box_stds)
    for i, label in enumerate(rois.labels.tolist()):
        expected = -found.classes[i].log_softmax(dim=0)[label]
        torch.testing.assert_close(losses.classes[i], expected)
        if label == 0:
            assert losses.masks[i] == losses.boxes[i] == 0
            torch.testing.assert_close(losses.instances[i], -found.instances[i].log_softmax(0)[0])
            continue
        own = torch.tensor([i])
        logits = found.masks[own]
        wanted = wanted_masks(logits, rois, own, batch, recipe)
        inside = logits.sigmoid()
        mask = -(wanted * inside.log() + (1 - wanted) * (1 - inside).log()).mean()
        torch.testing.assert_close(losses.masks[i], mask)
        difference = (found.deltas[i, label] / stds - 0.7).abs()
        box = torch.where(difference < 1, 0.5 * difference**2, difference - 0.5).sum()
        torch.testing.assert_close(losses.boxes[i], box)
        instance = instance_labels(logits, wanted, rois, own, batch, recipe)[i]
        torch.testing.assert_close(
            losses.instances[i], -found.instances[i].log_softmax(0)[instance]
        )


def test_terms_of_each_image_by_hand():
    recipe = recipe_of()
    conventions = replace(recipe.model.conventions, mask_loss_weight=2.0)
    recipe = replace(recipe, model=replace(recipe.model, conventions=conventions))
    rois = rois_of([OBJECT] * 5, [1, 0, 0, 2, 1], image_index=[0, 0, 0, 0, 1])
    losses = CascadeLosses(
        classes=torch.tensor([1.0, 2.0, 3.0, 4.0, 7.0]),
        instances=torch.tensor([4.0, 3.0, 2.0, 1.0, 5.0]),
        masks=torch.tensor([0.5, 0.0, 0.0, 1.0, 3.0]),
        boxes=torch.tensor([8.0, 0.0, 0.0, 4.0, 6.0]),
    )
    terms = image_terms(losses, rois, recipe, 3)
    assert {name: term.tolist() for name, term in terms.items()} == {
        "roi_class": [2.5, 7.0, 0.0],
        "roi_instance": [2.5, 5.0, 0.0],
        "roi_mask": [2 * 0.75, 2 * 3.0, 0.0],  # of the positive ones
        "roi_box": [3.0, 6.0, 0.0],
    }
    assert losses.total(2.0).tolist() == [14.0, 5.0, 5.0, 11.0, 24.0]


# The bridge


def test_refined_rois_are_all_of_them_and_the_objects():
    recipe = recipe_of()
    batch = batch_of(truth_of(labels=(2,)), truth_of((), ()))
    rois = rois_of([(4.0, 8.0, 36.0, 40.0), (50.0, 2.0, 70.0, 22.0), OBJECT], [2, 0, 0], [0, 0, 1])
    found = output_of(3)
    deltas = torch.zeros(3, 3, 4)
    best = found.instances[:, 1:].argmax(dim=1) + 1
    deltas[0, best[0]] = torch.tensor([0.125, 0.125, 0.0, 0.0])  # onto the object
    refined = refined_rois(rois, replace(found, deltas=deltas), batch, recipe)
    expected = [OBJECT, (50.0, 2.0, 70.0, 22.0), OBJECT, OBJECT]
    assert refined.boxes.tolist() == [list(box) for box in expected]
    assert refined.image_index.tolist() == [0, 0, 0, 1]
    # the third is the object itself; nothing is in the second image
    assert refined.labels.tolist() == [2, 0, 2, 0]
    assert not refined.deltas.any()


def test_hardest_rois():
    recipe = recipe_of(rois=2, ohem=True)
    batch = batch_of(truth_of(), truth_of((), ()))
    model = build_model(recipe.model).eval()
    _, maps = model(batch.images)
    boxes = [OBJECT, (6.0, 10.0, 40.0, 46.0), (50.0, 0.0, 70.0, 20.0), (0.0, 0.0, 9.0, 9.0), OBJECT]
    rois = rois_of(boxes, [1, 1, 0, 0, 0], [0, 0, 0, 0, 1])
    found = model.cascade(maps, rois.boxes, rois.image_index)
    weight = recipe.model.conventions.mask_loss_weight
    total = cascade_losses(found, rois, batch, recipe).total(weight)
    hard = hardest_rois(model, maps, rois, batch, recipe)
    order = total[:4].argsort(descending=True)[:2].tolist()
    assert hard.boxes.tolist() == [list(boxes[i]) for i in (*order, 4)]
    assert hard.image_index.tolist() == [0, 0, 1]
    assert hard.labels.tolist() == [rois.labels[i].item() for i in (*order, 4)]


# All together


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("ohem", [False, True])
def test_names_and_gradients(passes, ohem):
    recipe = recipe_of(passes=passes, ohem=ohem)
    model = build_model(recipe.model).train()
    batch = batch_of(truth_of(), truth_of(((30.0, 20.0, 70.0, 60.0),), (2,)))
    losses = losses_of(model, batch, recipe)
    second = tuple(f"{name}_2" for name in FIRST) if passes == 2 else ()
    assert tuple(losses.terms) == ("rpn_class", "rpn_box", *FIRST, *second)
    assert all(term.shape == (2,) and term.isfinite().all() for term in losses.terms.values())
    losses.total().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_an_image_does_not_depend_on_its_batch():
    recipe = recipe_of()
    model = build_model(recipe.model).eval()
    both = batch_of(truth_of(), truth_of(((30.0, 20.0, 70.0, 60.0),), (2,)))
    whole = mnc_losses(model, both, recipe)
    for i in range(2):
        alone = TrainingBatch(
            images=ImageBatch(
                pixels=both.images.pixels[i : i + 1],
                sizes=both.images.sizes[i : i + 1],
                scales=both.images.scales[i : i + 1],
                original_sizes=both.images.original_sizes[i : i + 1],
            ),
            truths=both.truths[i : i + 1],
            numbers=both.numbers[i : i + 1],
            names=both.names[i : i + 1],
        )
        for name, term in mnc_losses(model, alone, recipe).terms.items():
            torch.testing.assert_close(term[0], whole.terms[name][i], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_an_image_without_rois(norm):
    """No proposal, no object: the RPN's loss alone remains."""
    recipe = recipe_of(norm=norm)
    rpn = replace(recipe.model.rpn, min_size=1000.0)
    recipe = replace(recipe, model=replace(recipe.model, rpn=rpn))
    model = build_model(recipe.model).train()
    losses = mnc_losses(model, batch_of(truth_of((), ())), recipe)
    losses.total().backward()
    assert all(term.item() == 0 for name, term in losses.terms.items() if "roi" in name)
    assert losses.terms["rpn_class"].item() > 0


def smooth_model(seed=0):
    """A cascade in float64 whose second pass depends on the deltas of the first."""
    model = build_model(recipe_of(norm="frozen").model, seed=seed).double().eval()
    generator = torch.Generator().manual_seed(seed)
    for layer in (model.head.mask, model.head.classes, model.head.instances, model.head.boxes):
        layer.weight.data.normal_(std=0.3, generator=generator)
    c4 = torch.randn((2, 16, 7, 8), generator=generator, dtype=torch.float64)
    maps = CascadeMaps(c4=c4, cells=torch.tensor([[7, 8], [7, 8]]), stride=8, seen=[])
    return model, maps


def test_gradient_of_the_loss_in_roi_coordinates():
    """By finite differences, through warping, masks, deltas and the second pass."""
    model, maps = smooth_model()
    start = torch.tensor([[7.3, 11.1, 41.7, 45.9], [9.4, 8.2, 37.6, 47.3]], dtype=torch.float64)
    index, labels = torch.tensor([0, 1]), torch.tensor([1, 2])
    wanted = torch.zeros(2, 8, 8, dtype=torch.float64)
    wanted[:, 2:6, 2:6] = 1

    def loss(boxes):
        total = boxes.new_zeros(())
        for _ in range(2):
            found = model.cascade(maps, boxes, index)
            total = total + functional.cross_entropy(found.instances, labels)
            total = total + functional.binary_cross_entropy_with_logits(found.masks, wanted)
            boxes = decode_boxes(boxes, found.best_deltas())
        return total

    assert torch.autograd.gradcheck(loss, (start.clone().requires_grad_(),), eps=1e-7, atol=1e-6)
    (gradient,) = torch.autograd.grad(loss(start.requires_grad_()), start)
    assert gradient.abs().min() > 1e-5


def test_gradients_that_move_boxes_are_bounded():
    """By 1/512 a delta of the first pass; what moved the box before is not bounded here."""
    recipe = recipe_of()
    batch = batch_of(truth_of())
    found = output_of(2)
    found.deltas.requires_grad_()
    rois = rois_of([(10.0, 8.0, 36.0, 40.0), OBJECT], [1, 1])
    rois.boxes.requires_grad_()
    refined = refined_rois(rois, found, batch, recipe).boxes
    moved, base = torch.autograd.grad(refined[:2, 2].sum(), (found.deltas, rois.boxes))
    best = found.instances[:, 1:].argmax(dim=1) + 1
    assert moved[0, best[0]].tolist() == [1 / 512, 0, 1 / 512, 0]
    assert moved.count_nonzero() == 4
    # what moves the boxes themselves is not: it meets the bound of what they came from
    assert base[0, 2] > 0.5
    (tiny,) = torch.autograd.grad(
        1e-5 * refined_rois(rois, found, batch, recipe).boxes[0, 2], found.deltas
    )
    assert tiny[0, best[0], 0].item() == pytest.approx(26e-5)


def test_training_lowers_the_loss():
    recipe = recipe_of(norm="batch")
    model = build_model(recipe.model).train()
    batch = batch_of(truth_of(), truth_of(((30.0, 20.0, 70.0, 60.0),), (2,)))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.003)
    values = []
    for _ in range(12):
        total = mnc_losses(model, batch, recipe).total()
        total.backward()
        optimiser.step()
        optimiser.zero_grad()
        values.append(total.item())
    assert values[-1] < 0.7 * values[0]


def test_half_precision():
    recipe = recipe_of()
    model = build_model(recipe.model).train()
    batch = batch_of(truth_of())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = mnc_losses(model, batch, recipe)
    half.total().backward()
    assert all(term.dtype == torch.float32 for term in half.terms.values())
    assert half.first_bad(batch.names) is None


def test_images_of_a_step_share_the_bound():
    batch = batch_of(truth_of(), truth_of())
    recipe = recipe_of()
    recipe = replace(recipe, training=replace(recipe.training, accumulate=3))
    assert delta_bound(batch, recipe) == pytest.approx(1 / 512 / 6)


@pytest.mark.parametrize("bound", [0.0, 1e-6, 1 / 512])
def test_losses_of_rois_move_the_boxes_of_the_rpn_within_the_bound(bound):
    """The RPN's box layer hears of the RoIs' losses through the boxes alone."""
    recipe = recipe_of()
    model = replace(recipe.model, mnc=replace(recipe.model.mnc, delta_bound=bound))
    recipe = replace(recipe, model=model)
    network = build_model(recipe.model).eval()
    batch = batch_of(truth_of())
    losses = mnc_losses(network, batch, recipe)
    total = sum(term.sum() for name, term in losses.terms.items() if name.startswith("roi_"))
    (gradient,) = torch.autograd.grad(total, network.rpn.deltas.bias)
    most = bound * recipe.model.rpn.post_nms
    assert gradient.abs().max() <= most * (1 + 1e-5)
    assert (gradient.abs().max() > 0) == (bound > 0)
