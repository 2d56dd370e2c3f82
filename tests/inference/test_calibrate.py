"""Where calibrations are stored; what they do is tested with `fcis evaluate --calibrate`."""

import warnings
from dataclasses import replace

import pytest

from fcis.core.errors import InputError
from fcis.data.dataset import Category, Dataset
from fcis.data.scenes.shape_scenes import scene_dataset
from fcis.evaluation.calibration import Calibration
from fcis.inference.calibrate import check_target, store_calibration, warn_if_trained_on
from fcis.training.run import _describe
from fcis.weights.weights_file import read_info


def test_a_warning_on_the_training_data(tiny_weights):
    train_set = scene_dataset(3, 5)
    info = read_info(tiny_weights)
    told = replace(info, training_data=_describe(train_set))
    with pytest.warns(UserWarning, match=r"has as many images and objects as the training data"):
        warn_if_trained_on(told, train_set)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_trained_on(info, train_set)
        warn_if_trained_on(told, scene_dataset(4, 5))
        categories = (Category(id=1, name="a"),)
        warn_if_trained_on(info, Dataset(name="set", categories=categories, images=()))


def test_the_target_is_the_file_or_a_copy(tiny_weights, tmp_path):
    own, copy = str(tiny_weights), tmp_path / "new" / "copy.safetensors"
    assert check_target([own], None) == tiny_weights
    assert check_target([own], copy) == copy and copy.parent.is_dir()
    with pytest.raises(InputError, match="is for one network, and there are several --weights"):
        check_target([own, own], copy)


def test_nothing_but_calibration_and_thresholds_is_stored(tiny_weights, tmp_path):
    before, copy = read_info(tiny_weights), tmp_path / "copy.safetensors"
    calibration = Calibration(temperature=2.0, bias=0.5)
    found = replace(before, about="other", calibration=calibration, thresholds=(0.25,) * 8)
    store_calibration(str(tiny_weights), copy, found)
    assert read_info(copy) == replace(found, about=before.about)
