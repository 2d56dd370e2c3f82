"""How long an image takes at test and in training, all rows of a table in turn.

What is compared runs A B A B ... in one process, and ratios are taken within a round, because a
machine's speed drifts. The absolute times say as much about the machine as about the method.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import UInt8

from fcis.inference.predictor import Predictor
from fcis.inference.preprocess import plan_resize
from fcis.lab.benchmark.products import system_operations
from fcis.lab.benchmark.timing import Method, alternate, device_clock
from fcis.lab.benchmark.training import step_seconds
from fcis.lab.journal import Journal, fingerprint
from fcis.lab.reproduce.paper import TEST_SECONDS, TRAIN_SECONDS
from fcis.lab.reproduce.rows import Row
from fcis.lab.reproduce.running import Job, open_row
from fcis.recipe.types import Recipe

METHOD = Method(rounds=5)
_IMAGES = 4  # of the validation set, one after the other; the same for all rows

Image = UInt8[np.ndarray, "height width channel"]
Rounds = Mapping[str, list[float]]
"""Seconds an image of each row, a value a round."""


def measure_missing(job: Job, journal: Journal) -> dict[str, Rounds]:
    """Return the times of a table by column, measuring those that are not in the journal.

    Weights are those of the first seed.

    Raises:
        InputError: a line belongs to other settings, or an image or weights cannot be read.
    """
    seed = job.seeds[0]
    tested = [job.row_settings(row, seed) for row in job.plan.rows if row.networks]
    # a network of which steps are all that is wanted has no folder: in the form of the row's own
    stepped = [
        job.written(_step_recipe(job, row), row.networks[0], seed)
        for row in job.plan.rows
        if row.step_of
    ]
    method = [METHOD.rounds, _IMAGES, job.device]
    wanted = {TEST_SECONDS: ("at test", test_times, fingerprint(tested, method))}
    if stepped:
        settings = fingerprint(stepped, job.sources.train_name, method)
        wanted[TRAIN_SECONDS] = ("in training", step_times, settings)
    found = {}
    for name, (when, measure, settings) in wanted.items():
        key = {"kind": "times", "name": name, "seed": seed}
        line = journal.find(key, settings)
        if line is None:
            job.tell(f"{job.plan.table}: measuring the time of an image {when}")
            line = journal.add(key | {"settings": settings, "seconds": measure(job)})
        found[name] = line["seconds"]
    return found


def test_times(job: Job) -> dict[str, list[float]]:
    """Return the seconds an image from pixels to instances, of each row.

    Rows with the same networks and tools have the same values.

    Raises:
        InputError: an image or weights cannot be read.
    """
    firsts: dict[object, Row] = {}
    for row in job.plan.rows:
        firsts.setdefault((row.networks, row.averaging), row)
    predictors = {kind: open_row(job, row, job.seeds[0]) for kind, row in firsts.items()}
    images = _read(job, next(iter(predictors.values())))

    def detect_all(predictor: Predictor) -> None:
        for image in images:
            predictor.detect([image])

    works = {kind: partial(detect_all, predictor) for kind, predictor in predictors.items()}
    seconds = alternate(works, METHOD, device_clock(job.device))
    return {
        row.name: [s / len(images) for s in seconds[row.networks, row.averaging]]
        for row in job.plan.rows
    }


def step_times(job: Job) -> dict[str, list[float]]:
    """Return the seconds an image of an optimiser step, of each row that has one.

    Raises:
        InputError: an image cannot be read, or a loss is not finite.
    """
    recipes = {row.name: _step_recipe(job, row) for row in job.plan.rows if row.step_of}
    seconds = step_seconds(recipes, job.sources.train, job.device, METHOD)
    images = {name: r.training.batch * r.training.accumulate for name, r in recipes.items()}
    return {name: [s / images[name] for s in found] for name, found in seconds.items()}


def operations(job: Job) -> dict[str, int]:
    """Return the floating-point operations of the first validation image, of each row.

    A multiply-add counts two. Empty if the table has no such column.
    """
    if not job.plan.with_operations or not job.sources.val.images:
        return {}
    record = job.sources.val.images[0]
    found = {}
    for row in job.plan.rows:
        recipe = job.recipe(job.plan.training(row.networks[0]), job.seeds[0]).model
        sides = plan_resize((record.height, record.width), recipe.preprocessing).size
        found[row.name] = system_operations(recipe, sides, rois=recipe.rpn.post_nms)
    return found


def _read(job: Job, predictor: Predictor) -> list[Image]:
    dataset = job.sources.val.reading(predictor.info.model.image_reading)
    return [record.read() for record in dataset.images[:_IMAGES]]


def _step_recipe(job: Job, row: Row) -> Recipe:
    recipe = job.recipe(job.plan.training(row.step_of), job.seeds[0])
    # as many as fit would not be the same number for all
    batch = recipe.training.batch or 1
    return replace(recipe, training=replace(recipe.training, batch=batch))
