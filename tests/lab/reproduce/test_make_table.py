"""A table from names to files, the slow parts left out; all of it with `fcis reproduce`."""

import pytest

from fcis.core.errors import InputError
from fcis.lab.reproduce import make_table as module
from fcis.lab.reproduce.make_table import make_table


@pytest.fixture
def steps(monkeypatch):
    """Record the jobs whose parts would take long, without doing them."""
    jobs = []
    monkeypatch.setattr(module, "train_missing", lambda job, journal: jobs.append(job))
    monkeypatch.setattr(module, "evaluate_missing", lambda job, journal: None)
    return jobs


def test_names_are_enough(steps, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def stop(job, journal):
        raise Stop

    monkeypatch.setattr(module, "measure_missing", stop)
    with pytest.raises(Stop):
        make_table(
            "table3", "scenes:4:0", tmp_path / "t", recipe="tiny", settings=["steps=7"],
            device="cpu", tell=print,
        )  # fmt: skip
    (job,) = steps
    assert (job.seeds, job.device, job.folder) == ((0, 1, 2), "cpu", tmp_path / "t")
    assert {t.recipe.training.steps for t in job.plan.trainings} == {7}
    assert (len(job.sources.train), len(job.sources.val)) == (4, 2)


def test_an_interruption_says_how_to_go_on(steps, tmp_path, monkeypatch):
    def stop(job, journal):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "evaluate_missing", stop)
    told = []
    with pytest.raises(KeyboardInterrupt):
        make_table("table1", "scenes:4:0", tmp_path, seeds=1, device="cpu", tell=told.append)
    assert told == [f"what is done is in {tmp_path}; the same command goes on from there"]


def test_no_seeds(tmp_path):
    with pytest.raises(InputError, match="--seeds 0: expected at least 1"):
        make_table("table1", "scenes:4:0", tmp_path / "t", seeds=0, tell=print)
    assert not (tmp_path / "t").exists()
