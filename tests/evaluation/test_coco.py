"""The COCO figures against pycocotools, which shares no code with what they are computed by."""

import contextlib
import copy
import io
import logging

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from fcis.evaluation.coco import coco_figures
from fcis.evaluation.records import read_evaluation_set, strongest


def reference(api, detections, kind, max_detections):
    """All figures by pycocotools from the results list as it is, as a user would call it."""
    with contextlib.redirect_stdout(io.StringIO()):
        found = api.loadRes(copy.deepcopy(detections))
        evaluator = COCOeval(api, found, kind)
        evaluator.params.maxDets = [n for n in (1, 10) if n < max_detections] + [max_detections]
        evaluator.evaluate()
        evaluator.accumulate()

    def mean(values):
        known = values[values > -1]
        return known.mean() if known.size else None

    precision = evaluator.eval["precision"][..., -1]
    return {
        "AP": mean(precision[..., 0]),
        "AP50": mean(precision[0, ..., 0]),
        "AP75": mean(precision[5, ..., 0]),
        "AP_small": mean(precision[..., 1]),
        "AP_medium": mean(precision[..., 2]),
        "AP_large": mean(precision[..., 3]),
        "AR": mean(evaluator.eval["recall"][:, :, 0, -1]),
    }


def figures(truth, detections, kind, max_detections):
    evaluation_set = strongest(read_evaluation_set(truth, detections), max_detections)
    return coco_figures(evaluation_set, kind, max_detections=max_detections)


def check(got, expected):
    for name, value in expected.items():
        assert got[name] == (None if value is None else pytest.approx(value, abs=1e-6)), name


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("max_detections", [100, 400])
@pytest.mark.parametrize(
    "source", ["nuclei", "coco_mini", pytest.param("all_nuclei", marks=pytest.mark.slow)]
)
def test_equal_to_pycocotools(request, quiet_api, source, max_detections, kind):
    truth, detections = request.getfixturevalue(source)
    expected = reference(quiet_api(truth), detections, kind, max_detections)
    assert 0.1 < expected["AP"] < 0.9  # the comparison is not about trivial values
    check(figures(truth, detections, kind, max_detections).overall.to_json(), expected)


def test_the_limit_of_detections_matters(nuclei):
    truth, detections = nuclei
    few, many = (figures(truth, detections, "segm", n).overall.ar for n in (100, 400))
    assert few < many - 0.05


@pytest.mark.parametrize("max_detections", [1, 5, 10])
def test_few_detections(crowded_street, quiet_api, max_detections):
    truth, detections = crowded_street
    one_class = [d for d in detections if d["category_id"] == 1]
    truth = truth | {"annotations": [a | {"id": a["id"] + 1} for a in truth["annotations"]]}
    expected = reference(quiet_api(truth), one_class, "segm", max_detections)
    check(figures(truth, one_class, "segm", max_detections).overall.to_json(), expected)


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_crowd_regions_and_images_without_instances(crowded_street, quiet_api, kind):
    truth, detections = crowded_street
    assert sum(annotation["iscrowd"] for annotation in truth["annotations"]) >= 3
    assert {d["image_id"] for d in detections} == {1, 2, 3, 4, 5}
    # pycocotools takes annotation 0 for "unmatched", so it gets other ids
    renumbered = truth | {"annotations": [a | {"id": a["id"] + 1} for a in truth["annotations"]]}
    expected = reference(quiet_api(renumbered), detections, kind, 100)
    check(figures(truth, detections, kind, 100).overall.to_json(), expected)


def test_each_category_equals_the_data_set_cut_to_it(crowded_street, quiet_api):
    truth, detections = crowded_street
    result = figures(truth, detections, "segm", 100)
    for category in (1, 2):
        only = [a | {"id": a["id"] + 1} for a in truth["annotations"]]
        cut = truth | {"annotations": [a for a in only if a["category_id"] == category]}
        own = [d for d in detections if d["category_id"] == category]
        expected = reference(quiet_api(cut), own, "segm", 100)
        check(result.by_category[category].to_json(), expected)
    assert result.overall.ap == pytest.approx(
        np.mean([result.by_category[category].ap for category in (1, 2)])
    )


def test_ids_and_order_of_categories_are_free(make):
    left, right = make.rectangle(5, 5, 10, 10), make.rectangle(30, 5, 10, 10)
    truth = make.dataset([(1, 9, left), (1, 3, right)], categories=(9, 3, 5))
    result = figures(truth, [make.detection(left, category_id=9)], "segm", 100)
    assert {i: f.ap for i, f in result.by_category.items()} == {
        9: pytest.approx(1.0),
        3: 0.0,
        5: None,
    }
    assert result.overall.ap == pytest.approx(0.5)


@pytest.mark.parametrize("name", [str, lambda i: i if i % 2 else f"image {i}"])
def test_image_ids_may_be_text(crowded_street, name):
    def renamed(entries, key):
        return [entry | {key: name(entry[key])} for entry in entries]

    truth, detections = crowded_street
    named = truth | {
        "images": renamed(truth["images"], "id"),
        "annotations": renamed(truth["annotations"], "image_id"),
    }
    for kind in ("segm", "bbox"):
        expected = figures(truth, detections, kind, 100)
        assert 0.1 < expected.overall.ap < 0.9
        assert figures(named, renamed(detections, "image_id"), kind, 100) == expected


def test_no_detections_give_zero_and_no_truth_gives_nothing(make):
    mask = make.rectangle(5, 5, 10, 10)
    truth = make.dataset([(1, 1, mask)])
    overall = figures(truth, [], "segm", 100).overall
    assert (overall.ap, overall.ap_50, overall.ap_small, overall.ar) == (0.0, 0.0, 0.0, 0.0)
    assert (overall.ap_medium, overall.ap_large) == (None, None)
    for empty in (make.dataset([]), make.dataset([(1, 1, mask, True)])):
        result = figures(empty, [make.detection(mask)], "bbox", 100)
        assert set(result.overall.to_json().values()) == {None}
        assert result.by_category[1] == result.overall


def test_nothing_is_printed(crowded_street, capsys, caplog):
    caplog.set_level(logging.INFO)
    figures(*crowded_street, "segm", 100)
    assert capsys.readouterr() == ("", "")
    assert caplog.text == ""


def test_the_inputs_stay_as_they_are(crowded_street):
    truth, detections = copy.deepcopy(crowded_street)
    figures(truth, detections, "segm", 100)
    assert (truth, detections) == crowded_street
