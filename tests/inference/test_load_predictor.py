"""One file, several, with scales and the mirror image."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.core.errors import InputError
from fcis.inference.load_predictor import load_any
from fcis.inference.predictor import load_predictor
from fcis.inference.test_time.ensemble import Averaging
from fcis.inference.test_time.scales import read_scales
from fcis.model.build import build_model
from fcis.weights.weights_file import read_info, save_weights


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def other_weights(tiny_weights, tmp_path_factory):
    """Another network for the same categories in another order, with other thresholds."""
    info = read_info(tiny_weights)
    names, ids = info.model.class_names[::-1], info.model.category_ids[::-1]
    model = replace(info.model, class_names=names, category_ids=ids)
    path = tmp_path_factory.mktemp("other") / "other.safetensors"
    info = replace(info, model=model, thresholds=(0.2,) * len(names), recipe="other")
    save_weights(path, build_model(model, seed=1), info)
    return path


def test_one_file_is_a_plain_predictor(tiny_weights, image):
    expected = load_predictor(tiny_weights).predict(image, score_threshold=0)
    for weights in (tiny_weights, str(tiny_weights), [tiny_weights]):
        found = load_any(weights, device="cpu")
        assert found.ensemble is None
        np.testing.assert_array_equal(found.predict(image, score_threshold=0).masks, expected.masks)
    own = load_any(tiny_weights, device="cpu", averaging=Averaging(scales=read_scales(["1x"])))
    assert own.ensemble is None


def test_several_files_are_an_ensemble_with_the_description_of_the_first(
    tiny_weights, other_weights, image
):
    found = load_any([tiny_weights, other_weights], device="cpu")
    assert found.ensemble is not None and len(found.ensemble.networks) == 2
    assert found.ensemble.networks[0] is found.model
    assert found.info == read_info(tiny_weights)
    together = found.predict(image, score_threshold=0)
    assert together.category_ids == (0, *found.info.model.category_ids)
    swapped = load_any([other_weights, tiny_weights], device="cpu")
    assert swapped.info.recipe == "other" and swapped.info.thresholds == (0.2,) * 8
    # the same means, whoever comes first; what they are called differs
    other = swapped.predict(image, score_threshold=0)
    np.testing.assert_allclose(other.scores, together.scores, atol=1e-6)


def test_scales_and_flip(tiny_weights, image):
    plain = load_any(tiny_weights, device="cpu").predict(image, score_threshold=0)
    for averaging in (
        Averaging(flip=True),
        Averaging(scales=read_scales(["0.5x", "1x", "2x"]), roi_side=40),
    ):
        predictor = load_any(tiny_weights, device="cpu", averaging=averaging)
        found = predictor.predict(image, score_threshold=0)
        assert found.size == plain.size and not np.array_equal(found.scores, plain.scores)
        np.testing.assert_array_equal(found.image, image)


def test_a_change_is_made_to_every_network(tiny_weights, other_weights):
    def doubled(model):
        return replace(model, preprocessing=replace(model.preprocessing, zoom=2.0))

    found = load_any([tiny_weights, other_weights], device="cpu", change=doubled)
    zooms = [n.recipe.preprocessing.zoom for n in found.ensemble.networks]
    assert zooms == [2.0, 2.0]


def test_half_precision(tiny_weights, other_weights, image):
    found = load_any([tiny_weights, other_weights], device="cpu", precision="bfloat16")
    for network in found.ensemble.networks:
        assert next(network.parameters()).dtype == torch.bfloat16
    assert len(found.predict(image, score_threshold=0))


def test_refused(tiny_weights, tmp_path):
    with pytest.raises(InputError, match=r"^weights: an empty list; name at least one"):
        load_any([], device="cpu")
    with pytest.raises(InputError, match="none: no such weights; give"):
        load_any([tiny_weights, "none"], device="cpu")
    info = read_info(tiny_weights)
    names = (*info.model.class_names[:-1], "weasel")
    other = tmp_path / "weasels.safetensors"
    model = replace(info.model, class_names=names)
    save_weights(other, build_model(model), replace(info, model=model))
    message = r"tiny\.safetensors and .*weasels\.safetensors: do not have the same categories"
    with pytest.raises(InputError, match=message):
        load_any([tiny_weights, other], device="cpu")


def test_graphs_of_one_size_cannot_be_averaged(tiny_weights, monkeypatch):
    monkeypatch.setattr(
        "fcis.inference.predictor.compile_maps", lambda model, compiling, device: model
    )
    message = "^compile reduce-overhead: keeps the maps of one image at one scale alone;"
    with pytest.raises(InputError, match=message):
        load_any(
            tiny_weights,
            device="cpu",
            compile="reduce-overhead",
            averaging=Averaging(flip=True),
        )
    load_any(tiny_weights, device="cpu", compile="reduce-overhead")
