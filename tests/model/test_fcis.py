"""The whole network: image in, instances out."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from fcis.model import detector
from fcis.model.build import build_model
from fcis.model.soft_suppression import soft_scores
from fcis.model.voting import vote
from fcis.recipe.conventions import PAPER, RELEASE, with_conventions
from fcis.recipe.named import named_recipe
from fcis.recipe.types import BackboneRecipe, HeadRecipe, ModelRecipe, Preprocessing, RPNRecipe
from fcis.structures import OUTSIDE, ImageBatch, ScoreMaps

from .fcis_cases import SAMPLINGS, SIZES, assert_same, batch_of, lively, tiny

# Batches


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_each_image_gets_its_own_detections(sampling):
    recipe = tiny(rows={"sampling": sampling})
    model = lively(recipe)
    together, alone = batch_of(SIZES, recipe)
    found = model.detect(together)
    assert len(found) == 4
    for instances, batch, size in zip(found, alone, SIZES, strict=True):
        assert instances.size == size
        assert len(instances) > 5
        assert_same(instances, model.detect(batch)[0])
        assert (np.diff(instances.scores) <= 0).all()
    # the images are different, and so are their detections
    assert found[0].scores.tolist() != found[2].scores.tolist()


@pytest.mark.parametrize("conventions", [RELEASE, PAPER], ids=["release", "paper"])
def test_zoomed_images_in_other_conventions(conventions):
    recipe = tiny(rows=conventions)
    recipe = replace(
        recipe, preprocessing=replace(recipe.preprocessing, short_side=96, long_side=150)
    )
    model = lively(recipe)
    together, alone = batch_of(SIZES, recipe)
    assert len({tuple(s) for s in together.scales.tolist()}) == 3
    for instances, batch, size in zip(model.detect(together), alone, SIZES, strict=True):
        assert instances.size == size
        assert len(instances) > 3
        assert_same(instances, model.detect(batch)[0])


def test_detections_are_reproducible():
    recipe = tiny()
    together, _ = batch_of(SIZES, recipe)
    for one, two in zip(
        lively(recipe).detect(together), lively(recipe).detect(together), strict=True
    ):
        assert one.scores.tolist() == two.scores.tolist()
        assert_same(one, two)
    (other, *_) = lively(recipe, seed=1).detect(together)
    assert other.scores.tolist() != one.scores.tolist()


def test_masks_suppress_softly():
    """Scores of all candidates, lowered by masks; then the least score and the number hold."""
    recipe = tiny()
    loose = replace(recipe.detection, nms=0.7, max_detections=60, min_score=0.0)
    soft = replace(loose, mask_suppression="soft", max_detections=30, min_score=0.05)
    batch, _ = batch_of(SIZES[:1], recipe)
    model = lively(replace(recipe, detection=loose))
    (plain,) = model.detect(batch)
    model.recipe = replace(recipe, detection=soft)
    (found,) = model.detect(batch)
    expected = soft_scores(plain.scores, plain.labels, plain.crops)
    order = np.argsort(-expected, kind="stable")
    kept = [i for i in order if expected[i] >= 0.05][:30]
    assert len(plain) == 60 and order.tolist() != list(range(60))
    assert 0 < len(kept) < (expected > 0).sum()
    np.testing.assert_allclose(found.scores, expected[kept], atol=1e-6)
    assert found.labels.tolist() == plain.labels[kept].tolist()
    for crop, i in zip(found.crops, kept, strict=True):
        assert np.array_equal(crop.bits, plain.crops[i].bits)


def test_scores_of_certain_masks_stay_higher(monkeypatch):
    """Scores times certainty, sorted again; the masks stay."""
    recipe = tiny()
    batch, _ = batch_of(SIZES[:1], recipe)
    model = lively(recipe)
    voted = []
    monkeypatch.setattr(detector, "vote", lambda *a, **k: voted.append(vote(*a, **k)) or voted[-1])
    (plain,) = model.detect(batch)
    model.recipe = replace(recipe, detection=replace(recipe.detection, mask_score=True))
    (found,) = model.detect(batch)
    kept = [i for i, crop in enumerate(voted[-1][0]) if crop is not None]
    certainty = voted[-1][1][kept]
    assert (certainty > recipe.detection.mask_threshold).all() and (certainty < 1).all()
    expected = plain.scores * certainty
    order = np.argsort(-expected, kind="stable")
    order = order[expected[order] >= recipe.detection.min_score]
    np.testing.assert_allclose(found.scores, expected[order], atol=1e-6)
    assert order.tolist() != sorted(order.tolist())
    for crop, i in zip(found.crops, order, strict=True):
        assert np.array_equal(crop.bits, plain.crops[i].bits)


def test_names_and_ids_of_the_dataset():
    recipe = tiny()
    (found, *_) = lively(recipe).detect(batch_of(SIZES, recipe)[0])
    assert found.class_names == ("background", "class 0", "class 1", "class 2")
    assert found.category_ids == (0, 11, 12, 13)
    assert set(found.labels.tolist()) <= {1, 2, 3}
    assert len(set(found.labels.tolist())) > 1


# Conventions and scales


def signature(found):
    """What a set of detections is, in numbers."""
    return [
        (int(label), round(float(score), 6), crop.top, crop.left, crop.bits.tobytes())
        for label, score, crop in zip(found.labels, found.scores, found.crops, strict=True)
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": "align"},
        {"sampling": "native"},
        {"round_rois": False},
        {"box_slots": 1},
        {"anchor_rounding": False},
        {"proposal_grid": "full"},
        {"proposal_rank": "logit"},
        {"pad_proposals": False},
        {"min_size_in_original": True},
        {"stem_eps": 0.1},
        {"box_end": "edge"},
        {"mask_category": "best-any"},
        {"mask_category": "voted"},
        {"assignment": "best-category"},
        {"vote": "probability"},
        {"store_grid": False},
        {"resize": "float"},
        {"size_rounding": "down"},
    ],
    ids=lambda change: "-".join(f"{key}={value}" for key, value in change.items()),
)
def test_every_convention_reaches_the_result(change):
    base = tiny()
    # few and loosely suppressed proposals, so that padding and minimum sizes matter
    rpn = RPNRecipe(
        channels=16, anchor_sizes=(24.0, 48.0), pre_nms=400, post_nms=200, nms=0.5, min_size=20.0
    )
    recipe = replace(base, rpn=rpn, preprocessing=replace(base.preprocessing, zoom=1.33))
    recipe = with_conventions(recipe, RELEASE)
    changed = with_conventions(recipe, change)
    found = []
    for one in (recipe, changed, recipe):
        # 114 x 156 px: not a multiple of the stride
        batch, _ = batch_of([(86, 117)], one)
        model = lively(one)
        # background is the best category of some RoIs that vote all the same
        model.head.classes.bias.data[: 2 * recipe.head.k**2] += 0.5
        found.append(signature(model.detect(batch)[0]))
    assert len(found[0]) > 5
    assert found[0] == found[2]
    assert found[0] != found[1]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("scale", [(1.0, 1.0), (2.0, 2.0), (0.5, 0.5), (2.0, 1.0)])
def test_masks_lie_where_the_maps_say(sampling, scale):
    """Inside scores win in a known rectangle of the image, whatever its scale."""
    rows = {"sampling": sampling, "round_rois": False}
    model = build_model(tiny(1, rows, head=HeadRecipe(reduction=8, k=1, out_size=28)))
    size = (int(96 * scale[0]), int(128 * scale[1]))
    batch = ImageBatch(
        pixels=torch.zeros(1, 3, *size),
        sizes=torch.tensor([size]),
        scales=torch.tensor([scale]),
        original_sizes=torch.tensor([[96, 128]]),
    )
    # rows 32 to 80 and columns 16 to 64 of 96 x 128 px, which are whole cells at each scale
    down, right = (
        slice(int(a * s / 8), int(b * s / 8))
        for (a, b), s in zip(((32, 80), (16, 64)), scale, strict=True)
    )
    classes = torch.zeros(1, size[0] // 8, size[1] // 8, 1, 2, 2)
    classes[..., OUTSIDE, 1] = 4.0
    classes[0, down, right, 0, :, 1] = torch.tensor([0.0, 4.0])
    maps = ScoreMaps(
        classes=classes,
        boxes=classes[..., 0, :1].expand(-1, -1, -1, -1, 4),
        cells=torch.tensor([classes.shape[1:3]]),
        stride=8,
    )
    box = torch.tensor([[0.0, 16, 96, 96]]) * torch.tensor([*scale[::-1], *scale[::-1]])
    read = partial(model.mask_grids, maps, 0)
    found = model.assemble_instances(box, torch.tensor([[0.1, 0.9]]), batch.frame(0), read)
    expected = np.zeros((96, 128), dtype=bool)
    expected[32:80, 16:64] = True
    (mask,) = found.masks
    # bins and cells are up to 16 px wide; a frame mixed up would give less than a half
    assert (mask & expected).sum() > 0.8 * (mask | expected).sum()
    rows, columns = np.nonzero(mask)
    assert abs(rows.mean() - 55.5) < 2
    assert abs(columns.mean() - 39.5) < 2


def test_fewer_detections():
    base = tiny()
    recipe = replace(base, detection=replace(base.detection, max_detections=4))
    together, _ = batch_of(SIZES, recipe)
    few = lively(recipe).detect(together)
    for instances, more in zip(few, lively(base).detect(together), strict=True):
        assert len(instances) == 4
        assert instances.scores.tolist() == more.scores[:4].tolist()


# Shapes of networks


@pytest.mark.parametrize(
    ("num_classes", "head", "slots"),
    [
        (1, HeadRecipe(reduction=8, k=3, out_size=9), 1),
        (80, HeadRecipe(reduction=8, k=3, out_size=14), 2),
        (3, HeadRecipe(reduction=8, k=7, out_size=21), 2),
        (20, HeadRecipe(reduction=8, k=1, out_size=5), 1),
        (2, HeadRecipe(reduction=8, k=5, out_size=12), 1),
    ],
)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_other_heads(num_classes, head, slots, sampling):
    rows = {**RELEASE, "sampling": sampling, "box_slots": slots}
    recipe = tiny(num_classes, rows, head=head)
    together, alone = batch_of(SIZES[:2], recipe)
    model = lively(recipe)
    found = model.detect(together)
    for instances, batch in zip(found, alone, strict=True):
        assert len(instances) > 0
        assert instances.labels.max() <= num_classes
        assert_same(instances, model.detect(batch)[0])


def test_release_s_geometry():
    """A slim network with the release's strides, anchors and conventions."""
    recipe = ModelRecipe(
        class_names=("a", "b"),
        category_ids=(1, 2),
        backbone=BackboneRecipe(
            depths=(1, 1, 1, 1),
            widths=(4, 4, 8, 8),
            stem_width=4,
            norm="batch",
            frozen_stages=0,
        ),
        rpn=replace(named_recipe("coco-resnet101").model.rpn, channels=8),
        head=HeadRecipe(reduction=8),
        preprocessing=Preprocessing(short_side=100, long_side=160),
    )
    model = lively(recipe)
    together, alone = batch_of(SIZES, recipe)
    with torch.inference_mode():
        output, maps = model(together)
    # reference 2.5: 100 -> c1 50, p1 25, r3 13, r4 7; 133 -> 67, 33, 17, 9; 139 -> 70, 35, 18, 9
    assert output.cells.tolist() == [[7, 9], [9, 7], [7, 9], [5, 10]]
    assert maps.classes.shape == (4, 9, 10, 49, 2, 3)
    for instances, batch in zip(model.detect(together), alone, strict=True):
        assert len(instances) > 0
        assert_same(instances, model.detect(batch)[0])
