"""What is said after a run."""

import pytest
from tests.training.results import result_of

from fcis.recipe.as_json import with_setting
from fcis.recipe.named import named_recipe
from fcis.training.metrics import add_metrics, write_metrics
from fcis.training.summary import summary


def test_new_arrays_are_said(tmp_path):
    result = result_of(tmp_path, new_arrays=("a.b", "c"))
    first = summary(result, "val.json").splitlines()[0]
    assert first == "began anew, because the given weights did not fit: a.b, c"


def validated(folder, *figures):
    """Write a table with an AP at each given step."""
    write_metrics(folder, [])
    for step, ap in figures:
        add_metrics(folder, step, {"val_AP": ap, "val_AP50": 2 * ap})


def test_the_summary_has_the_best_and_the_last_figures(tmp_path):
    validated(tmp_path, (3, 0.25), (20, 0.125))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "step-000020.png").write_bytes(b"")
    assert summary(result_of(tmp_path), "val.json").splitlines() == [
        "trained on 270 images in 1.5 min, 3 a second, validations included",
        "best mask AP 0.250 at step 3: AP 0.250, AP50 0.500",
        "last, at step 20: AP 0.125, AP50 0.250",
        f"weights: {tmp_path / 'best.safetensors'}",
        f"curves:  {tmp_path / 'curves.png'}, from {tmp_path / 'metrics.csv'}",
        f"found:   {tmp_path / 'pictures' / 'step-000020.png'}, beside what is annotated",
        f"all:     tensorboard --logdir {tmp_path}",
        f"measure: fcis evaluate --data val.json --weights {tmp_path}",
        f"try it:  fcis predict IMAGES --weights {tmp_path}",
    ]


def test_a_run_that_ends_at_its_best_could_go_on(tmp_path):
    validated(tmp_path, (10, 0.25), (20, 0.5))
    text = summary(result_of(tmp_path, best=0.5, best_step=20), "val.json")
    assert "best mask AP 0.500 at step 20: " in text and "last, at" not in text
    assert "it was still becoming better: more steps may give more" in text
    validated(tmp_path, (20, 0.5))  # who knows
    text = summary(result_of(tmp_path, best=0.5, best_step=20), "val.json")
    assert "still" not in text


@pytest.mark.parametrize("metric", ["loss", "box_AP", "dsb@0.50"])
def test_the_chosen_figure_is_named(tmp_path, metric):
    recipe = with_setting(named_recipe("tiny"), "metric", metric)
    text = summary(result_of(tmp_path, recipe), "val.json")
    assert f"best {'mask ' * (metric == 'dsb@0.50')}{metric} 0.250 at step 3" in text


def test_an_early_stop_is_said_each_time(tmp_path):
    told = (
        "stopped early at step 12 of 20, because AP had not become better since step 3; to go on, "
        "add --resume --set patience=0"
    )
    first = summary(result_of(tmp_path, steps=12), "val.json").splitlines()
    assert first[1] == told and "trained on 270 images" in first[0]
    again = summary(result_of(tmp_path, steps=12, images=0), "val.json").splitlines()
    assert again[0] == f"nothing to do: the run has {told}"


def test_a_finished_run_resumed_says_so(tmp_path):
    text = summary(result_of(tmp_path, images=0), "val.json")
    assert text.startswith("nothing to do: all 20 steps were made before\nbest mask AP 0.250")
