"""All stages of a whole image are found in the code that runs."""

import json
from dataclasses import replace

import pytest
import torch

import fcis.inference.image_predictor
import fcis.model.detector
from fcis.imaging.reading import read_image
from fcis.inference.predictor import load_predictor
from fcis.lab.benchmark import inference
from fcis.lab.benchmark.inference import (
    PER_ROI,
    STAGES,
    InferenceSettings,
    measure_network,
    run_inference,
)
from fcis.lab.benchmark.networks import (
    network_input,
    random_predictor,
    with_classes,
    write_example,
)
from fcis.lab.benchmark.peer import MaskRCNNPeer
from fcis.lab.benchmark.products import count_operations
from fcis.lab.benchmark.timing import Method
from fcis.recipe.named import named_recipe
from fcis.recipe.types import MNCRecipe


@pytest.fixture(scope="module")
def predictor(tiny_weights):
    return load_predictor(tiny_weights)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = write_example(tmp_path_factory.mktemp("image"), named_recipe("tiny").model)
    method = Method(rounds=2, least_seconds=0.0)
    return InferenceSettings(
        image=path, batches=(1, 2), matrix=16, peer=False, device="cpu", method=method
    )


@pytest.fixture(scope="module")
def report(predictor, settings):
    return run_inference(predictor, "tiny", settings, lambda text: None)


def test_every_stage_runs_and_is_left_as_it_was(report):
    ((name, stages),) = report.stages
    assert name == "tiny" and list(stages.seconds) == list(STAGES)
    for run in stages.runs:
        assert min(run.values()) > 0
    assert fcis.model.detector.vote.__module__ == "fcis.model.voting"
    assert fcis.inference.image_predictor.prepare.__module__ == "fcis.inference.preprocess"


def test_shares_add_up(report):
    ((_, stages),) = report.stages
    assert sum(stages.share(name).median for name in STAGES) == pytest.approx(1, abs=0.2)
    assert stages.share(*STAGES).median == pytest.approx(1)
    assert 0 < stages.share(*PER_ROI).median < 1
    assert report.figures["share_per_roi"] == stages.share(*PER_ROI)


def test_operations_are_those_of_the_network(predictor, settings, report):
    batch = network_input(predictor.model, predictor.read(settings.image))
    assert report.figures["products"].operations == count_operations(lambda: predictor.model(batch))
    modules = [m for m in predictor.model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert report.figures["products"].products == len(modules)


def test_rates_are_operations_over_seconds(monkeypatch, predictor, settings):
    seconds = {"network": [2.0, 2.0], "bare": [1.0, 1.0], "matrix": [0.5, 0.25]}
    monkeypatch.setattr(inference, "alternate", lambda works, method, clock: seconds)
    found = measure_network(predictor, predictor.read(settings.image), settings)
    assert found.over_bare.median == 2
    assert found.matrix_rate.high <= 2 * 16**3 / 0.25
    assert found.matrix_rate.median == (2 * 16**3 / 0.5 + 2 * 16**3 / 0.25) / 2
    rate = found.operations / 2
    assert found.of_matrix.low < rate / found.matrix_rate.median < found.of_matrix.high


def test_throughput_of_each_batch_size(report):
    own = report.figures["throughput"]
    assert [(t.name, t.batch) for t in own] == [("tiny", 1), ("tiny", 2)]
    for entry in own:
        assert entry.over_first.median == 1
        assert entry.rate.median > 0 and entry.detections >= 0
    assert own[1].bytes > own[0].bytes > 0


def test_a_peer_takes_turns_with_the_network_of_its_depth(monkeypatch, predictor, settings):
    calls = []

    class Peer(MaskRCNNPeer):
        def __init__(self, image, *, sides, device, precision):
            calls.append(sides)
            self.usual_threshold, self.full_threshold = 0.05, 0.01

        def detect(self, batch, threshold):
            calls.append((batch, threshold))

        def detections(self, threshold):
            return 0 if threshold == 0.05 else 100

    monkeypatch.setattr(inference, "MaskRCNNPeer", Peer)
    image = predictor.read(settings.image)[:64, :96]
    found = inference.measure_peers(predictor, "tiny", image, settings, lambda text: None)
    assert calls[0] == (64, 96)
    assert [(t.name, t.batch) for t in found[:3]] == [
        ("tiny, depths 3-4-6-3", 1),
        ("Mask R-CNN, scores from 0.05", 1),
        ("Mask R-CNN, scores from 0.01", 1),
    ]
    assert [t.detections for t in found[1:3]] == [0, 100]
    assert (2, 0.01) in calls and len(found) == 6
    with_peer = replace(settings, peer=True, batches=(1,))
    whole = run_inference(predictor, "tiny", with_peer, lambda text: None)
    assert [t.name for t in whole.figures["peers"]] == [t.name for t in found[:3]]
    assert "| Mask R-CNN, scores from 0.01 |" in whole.tables[-1].text()


def test_json_and_tables(report, settings):
    found = json.loads(json.dumps(report.to_json()))
    assert found["settings"]["image"] == settings.image.name
    assert found["sides"] == [480, 800] and found["network"] == "tiny"
    assert {"share_of_assembly", "share_per_roi", "products", "throughput", "peers"} <= set(found)
    assert set(found["stages"]) == set(STAGES)
    stages, limits, rates = (table.text() for table in report.tables)
    assert stages.startswith("tiny, one image of 480 x 800 after resizing")
    assert "| assembly 2 |" in stages and "products alone" in limits
    assert "| network | batch |" in rates
    assert report.notes[0].startswith("per-RoI work is ")


def test_the_stages_of_mnc(settings):
    """Two passes of its per-RoI network take the place of assembly."""
    recipe = with_classes(replace(named_recipe("tiny").model, system="mnc"), 2)
    recipe = replace(recipe, mnc=MNCRecipe(feature_grid=4, mask_grid=8))
    image = read_image(settings.image)
    predictor = random_predictor(recipe, "mnc", image, device="cpu")
    stages = inference.measure_stages(predictor, settings)
    names = list(stages.seconds)
    places = [names.index(name) for name in ("RPN", *inference.CASCADE, "voting", "masks")]
    assert places == sorted(places) and "assembly 1" not in names and "score maps" not in names
    assert stages.share(*inference.CASCADE).median > 0
    assert not {"rpn_proposals", "score_rois", "mask_rois"} & vars(predictor.model).keys()


def test_half_precision_is_that_of_convolutions_and_matrices(settings):
    recipe = named_recipe("tiny").model
    model = with_classes(recipe, 3)
    pixels = read_image(settings.image)
    predictor = random_predictor(model, "tiny", pixels, device="cpu")
    half = replace(settings, precision="bfloat16", batches=(1,))
    report = run_inference(predictor, "tiny", half, lambda text: None)
    kinds = {m.weight.dtype for m in predictor.model.modules() if isinstance(m, torch.nn.Conv2d)}
    assert kinds == {torch.bfloat16}
    assert "bfloat16 matrix product" in report.tables[1].text()
