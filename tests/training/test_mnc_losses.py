"""The losses of MNC: targets and terms against slow references."""

from dataclasses import replace

import pytest
import torch

from fcis.model.build import build_model
from fcis.recipe.conventions import with_conventions
from fcis.structures import ImageBatch
from fcis.training.batch import TrainingBatch
from fcis.training.mnc_losses import (
    CascadeLosses,
    cascade_losses,
    hardest_rois,
    image_terms,
    instance_labels,
    mnc_losses,
    refined_rois,
    wanted_masks,
)

from .mnc_losses_cases import OBJECT, batch_of, object_mask, output_of, recipe_of, rois_of, truth_of

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
    recipe = with_conventions(recipe_of(), {"mask_loss_weight": 2.0})
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
    weight = recipe.training.losses.mask_loss_weight
    total = cascade_losses(found, rois, batch, recipe).total(weight)
    hard = hardest_rois(model, maps, rois, batch, recipe)
    order = total[:4].argsort(descending=True)[:2].tolist()
    assert hard.boxes.tolist() == [list(boxes[i]) for i in (*order, 4)]
    assert hard.image_index.tolist() == [0, 0, 1]
    assert hard.labels.tolist() == [rois.labels[i].item() for i in (*order, 4)]


# All together


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


def test_half_precision():
    recipe = recipe_of()
    model = build_model(recipe.model).train()
    batch = batch_of(truth_of())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = mnc_losses(model, batch, recipe)
    half.total().backward()
    assert all(term.dtype == torch.float32 for term in half.terms.values())
    assert half.first_bad(batch.names) is None
