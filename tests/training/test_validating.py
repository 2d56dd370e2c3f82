from dataclasses import replace

import pytest
import torch

from fcis.inference.predictor import Predictor
from fcis.model.build import build_model
from fcis.training.validating import Judge
from fcis.training.validation_loss import ValidationLoss
from fcis.weights.weights_file import WeightsInfo, load_weights, read_info


@pytest.fixture
def judge(tiny, val_set, tmp_path):
    info = WeightsInfo(model=tiny.model, recipe="tiny", training_data="some scenes")
    model = build_model(tiny.model, seed=4)
    return Judge(model, val_set, info=info, path=tmp_path / "best.safetensors")


def test_a_perfect_detector_scores_one(judge, val_set, monkeypatch):
    class Perfect:
        def to_coco(self):
            truth = val_set.to_coco()["annotations"]
            keys = ("image_id", "category_id", "bbox", "segmentation")
            return [{k: a[k] for k in keys} | {"score": 0.75} for a in truth]

    monkeypatch.setattr(
        "fcis.inference.predictor.Predictor.detect_dataset", lambda *_: iter([Perfect()])
    )
    figures = judge.validate()
    names = {"AP", "AP50", "AP75", "box_AP", "dsb@0.50"}
    assert figures == pytest.approx(dict.fromkeys(names, 1.0))
    judge.keep(figures)
    info = read_info(judge.path)
    seen = {a["category_id"] for a in val_set.to_coco()["annotations"]}
    expected = tuple(0.75 if i in seen else 0.5 for i in info.model.category_ids)
    assert info.thresholds == expected and 0.75 in expected
    assert dict(info.metrics) == pytest.approx(dict.fromkeys(names - {"box_AP"}, 1.0))


def test_an_untrained_network_scores_low_and_is_kept_as_it_is(judge, tiny):
    figures = judge.validate()
    assert 0 <= figures["AP"] < 0.1
    judge.keep(figures)
    info = read_info(judge.path)
    assert (info.recipe, info.training_data, info.model) == ("tiny", "some scenes", tiny.model)
    other = build_model(tiny.model, seed=5)
    load_weights(judge.path, other)
    for name, value in judge.model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_without_objects_the_figures_are_zero(judge, val_set):
    judge.val_set = replace(
        val_set, images=tuple(replace(r, annotations=()) for r in val_set.images)
    )
    names = ("AP", "AP50", "AP75", "box_AP", "dsb@0.50")
    assert judge.validate() == dict.fromkeys(names, 0.0)


@pytest.mark.parametrize("metric", ["loss", "box_AP"])
def test_the_chosen_figure_is_kept_with_the_weights(tiny, val_set, judge, metric):
    judge.metric, judge.loss = metric, ValidationLoss(val_set, tiny)
    figures = judge.validate()
    assert figures["loss"] == judge.loss.measure(judge.model)
    judge.keep(figures)
    kept = dict(read_info(judge.path).metrics)
    assert kept == {name: figures[name] for name in ("AP", "AP50", "AP75", "dsb@0.50", metric)}


def test_pictures_show_what_passes_the_thresholds(tiny, val_set, tmp_path):
    info = WeightsInfo(model=tiny.model)
    model = build_model(tiny.model, seed=4)
    judge = Judge(model, val_set, info=info, path=tmp_path / "best.safetensors", pictures=2)
    judge.validate()
    pairs = judge.pictures()
    chosen = [val_set.images[0], val_set.images[1]]
    assert [pair.name for pair in pairs] == [record.file_name for record in chosen]
    predictor = Predictor(model, judge.info)
    for pair, record in zip(pairs, chosen, strict=True):
        (found,) = predictor.detect([record.read()])
        shown = predictor.shown(found)
        assert pair.titles[1] == f"{len(shown)} found" and len(shown) < len(found)
