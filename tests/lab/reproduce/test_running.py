"""What is done is not done again, what was interrupted goes on, what differs is refused."""

import json
from dataclasses import replace

import pytest

from fcis.core.errors import InputError
from fcis.core.output_files import write_text
from fcis.inference.test_time.ensemble import Averaging
from fcis.lab.reproduce import running
from fcis.lab.reproduce.running import (
    evaluate_missing,
    open_journal,
    read_detections,
    train_missing,
)
from fcis.training.run import BEST


def names(journal, kind):
    return [(line["name"], line["seed"]) for line in journal.lines if line["kind"] == kind]


ALL = [("fcis-k1", 0), ("fcis", 0), ("fcis-k1", 1), ("fcis", 1)]


def test_every_training_runs_once(job, trained, said):
    train_missing(job, open_journal(job.folder))
    assert trained.calls == [
        ("k1", 0, "fcis-k1-0"),
        ("tiny", 0, "fcis-0"),
        ("k1", 1, "fcis-k1-1"),
        ("tiny", 1, "fcis-1"),
    ]
    journal = open_journal(job.folder)
    assert names(journal, "training") == ALL
    train_missing(job, journal)
    assert len(trained.calls) == 4 and len(said) == 4


def test_people_hear_which_run_it_is_and_how_long_it_takes(job, trained, said):
    train_missing(job, open_journal(job.folder))
    assert said[0] == "table1: training 1 of 4, fcis-k1 with seed 0, 8 steps"
    # 90 s for half of the steps: 180 s a training, three left
    assert said[1].endswith("training 2 of 4, fcis with seed 0, 8 steps; about 9 min of training "
                            "left")  # fmt: skip


def test_an_interrupted_call_goes_on_where_it_was(job, trained):
    trained.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        train_missing(job, open_journal(job.folder))
    assert names(open_journal(job.folder), "training") == ALL[:2]
    trained.stop_at = None
    train_missing(job, open_journal(job.folder))
    assert [call[2] for call in trained.calls] == ["fcis-k1-0", "fcis-0", "fcis-k1-1", "fcis-1"]


def test_more_seeds_train_the_new_ones_alone(job, trained):
    train_missing(replace(job, seeds=(0,)), open_journal(job.folder))
    train_missing(job, open_journal(job.folder))
    assert [call[1] for call in trained.calls] == [0, 0, 1, 1]


def test_lost_weights_are_trained_again(job, trained):
    train_missing(job, open_journal(job.folder))
    (job.run_folder("fcis", 1) / BEST).unlink()
    train_missing(job, open_journal(job.folder))
    assert trained.calls[4:] == [("tiny", 1, "fcis-1")]


def test_other_recipes_and_data_are_refused_before_anything_runs(job, trained, tiny):
    train_missing(job, open_journal(job.folder))
    longer = replace(tiny, training=replace(tiny.training, steps=9))
    trainings = (job.plan.trainings[0], replace(job.plan.trainings[1], recipe=longer))
    other = replace(job, plan=replace(job.plan, trainings=trainings))
    with pytest.raises(InputError, match="fcis, seed 0 was made with another recipe"):
        train_missing(other, open_journal(job.folder))
    data = replace(job, sources=replace(job.sources, train_name="scenes:3:5"))
    with pytest.raises(InputError, match="seed 0 was made with another recipe, budget or data"):
        train_missing(data, open_journal(job.folder))
    assert len(trained.calls) == 4


def test_what_is_only_timed_is_not_trained(job, trained):
    trainings = (replace(job.plan.trainings[0], is_trained=False), job.plan.trainings[1])
    train_missing(
        replace(job, plan=replace(job.plan, trainings=trainings)), open_journal(job.folder)
    )
    assert [call[2] for call in trained.calls] == ["fcis-0", "fcis-1"]


@pytest.fixture
def opened(monkeypatch):
    """Count the predictors that are made."""
    made = []
    load = running.load_any

    def count(weights, **options):
        made.append([path.parent.name for path in weights])
        return load(weights, **options)

    monkeypatch.setattr(running, "load_any", count)
    return made


def test_every_row_is_evaluated_once(job, trained, opened):
    journal = open_journal(job.folder)
    train_missing(job, journal)
    evaluate_missing(job, journal)
    assert names(open_journal(job.folder), "row") == ALL
    for line in (line for line in journal.lines if line["kind"] == "row"):
        assert {"AP", "AP50", "AP_small", "mAP_r@0.5", "mAP_r@0.7"} <= set(line["figures"])
    evaluate_missing(job, open_journal(job.folder))
    assert opened == [["fcis-k1-0"], ["fcis-0"], ["fcis-k1-1"], ["fcis-1"]]
    found = read_detections(job, job.plan.rows[1], 0)
    assert {d["image_id"] for d in found} <= {1, 2} and all(d["score"] > 0 for d in found)


def test_values_come_from_the_journal(job, opened):
    journal, metric = open_journal(job.folder), "mAP_r@0.5"
    for row in job.plan.rows:
        for seed, value in ((0, 0.25), (1, None)):
            facts = {"settings": job.row_settings(row, seed), "figures": {metric: value}}
            journal.add({"kind": "row", "name": row.name, "seed": seed} | facts)
            write_text(job.detections(row, seed), "[]")
    assert evaluate_missing(job, journal) == {
        "fcis-k1": {metric: [0.25, 0.0]},
        "fcis": {metric: [0.25, 0.0]},
    }
    assert not opened


def test_an_ensemble_is_made_of_networks_of_one_seed(job, trained, opened):
    row = replace(job.plan.rows[1], networks=("fcis", "fcis-k1"), averaging=Averaging(flip=True))
    plan = replace(job.plan, rows=(row, replace(job.plan.rows[0], has_figures=False)))
    job, journal = replace(job, plan=plan), open_journal(job.folder)
    train_missing(job, journal)
    evaluate_missing(job, journal)
    assert opened == [["fcis-0", "fcis-k1-0"], ["fcis-1", "fcis-k1-1"]]
    assert names(journal, "row") == [("fcis", 0), ("fcis", 1)]


def test_lost_detections_are_made_again(job, trained, opened):
    journal = open_journal(job.folder)
    train_missing(job, journal)
    evaluate_missing(job, journal)
    job.detections(job.plan.rows[0], 1).unlink()
    evaluate_missing(job, open_journal(job.folder))
    assert opened[4:] == [["fcis-k1-1"]]


def test_other_test_time_tools_are_refused(job, trained):
    journal = open_journal(job.folder)
    train_missing(job, journal)
    evaluate_missing(job, journal)
    row = replace(job.plan.rows[0], averaging=Averaging(flip=True))
    other = replace(job, plan=replace(job.plan, rows=(row, job.plan.rows[1])))
    with pytest.raises(InputError, match="fcis-k1, seed 0 was made with another recipe"):
        evaluate_missing(other, open_journal(job.folder))


def test_damaged_detections_are_named(job):
    path = job.detections(job.plan.rows[0], 0)
    path.parent.mkdir(parents=True)
    path.write_text("[")
    with pytest.raises(InputError, match=r"fcis-k1-0\.json: cannot be read .* evaluated again"):
        read_detections(job, job.plan.rows[0], 0)
    path.write_text(json.dumps([]))
    assert read_detections(job, job.plan.rows[0], 0) == []


def test_a_file_in_the_place_of_the_folder_is_refused(job, trained):
    journal = open_journal(job.folder)
    train_missing(job, journal)
    (job.folder / "detections").write_text("")
    with pytest.raises(
        InputError, match=r"detections: the folder cannot be made .* choose another --out"
    ):
        evaluate_missing(job, journal)
