"""Detections of a whole dataset and its categories; figures are tested with `fcis evaluate`."""

from dataclasses import replace

import pytest

from fcis.core.errors import InputError
from fcis.data.dataset import Category, Dataset
from fcis.data.formats.coco import read_coco
from fcis.inference.evaluate_dataset import dataset_ids, evaluate_predictor, reliability_curves
from fcis.inference.predictor import load_predictor
from fcis.weights.weights_file import read_info


def test_detections_can_be_watched(annotate, tiny_weights, tmp_path):
    predictor, seen = load_predictor(tiny_weights), []
    dataset = read_coco(annotate(tmp_path))
    _, found = evaluate_predictor(predictor, dataset, watch=seen.append)
    assert [instances.image_id for instances in seen] == [7, 9]
    assert (
        evaluate_predictor(predictor, dataset)[1] == found and len(found) == 2 * 20
    )  # the recipe's maximum


def test_ids_are_found_by_name(tiny_weights):
    info = read_info(tiny_weights)
    info = replace(info, model=replace(info.model, class_names=("b", "a"), category_ids=(1, 2)))

    def dataset(*names):
        categories = tuple(Category(id=10 * i, name=n) for i, n in enumerate(names, start=1))
        return Dataset(name="set", categories=categories, images=())

    assert dataset_ids(info, dataset("a", "b")) == (20, 10)
    for names in (("a",), ("a", "b", "c"), ("a", "b", "b")):
        with pytest.raises(InputError, match=r"set: its categories \(a.*are not .* \(b, a\)"):
            dataset_ids(info, dataset(*names))


def test_reliability_counts_every_detection(annotate, tiny_weights, tmp_path):
    predictor, dataset = load_predictor(tiny_weights), read_coco(annotate(tmp_path))
    _, found = evaluate_predictor(predictor, dataset)
    (curve,) = reliability_curves(predictor, dataset, found).values()
    assert curve.counts.sum() == len(found)
