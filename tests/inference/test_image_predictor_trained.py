"""What a network finds that has learnt its images by heart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.inference.predictor import load_predictor
from fcis.recipe.named import named_recipe
from fcis.recipe.types import Augmentation
from fcis.training.run import BEST, for_dataset, train


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
