"""The facts, and the commit of the right clone."""

import json
import subprocess

import pytest
import torch

from fcis.lab.environment import commit, environment, threads


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_facts_of_this_process():
    facts = environment("cpu")
    found = json.loads(json.dumps(facts.to_json()))
    assert found["versions"]["torch"] == torch.__version__
    assert {"python", "fcis", "torchvision"} <= set(found["versions"])
    assert found["threads"] == torch.get_num_threads()
    assert found["processors"] >= 1 and found["processor"] == found["device_name"]
    assert found["tensor_cores"] == {"convolutions": False, "products": False}
    first, second = facts.text().splitlines()
    assert f"torch {torch.__version__}" in first and facts.date in first
    assert second.startswith(f"cpu: {facts.device_name}, {facts.threads} threads of ")


def test_commit_of_a_clone(tmp_path):
    tracked, other = tmp_path / "a.py", tmp_path / "b.py"
    tracked.write_text("1")
    other.write_text("1")
    assert commit(tracked) == ""
    git(tmp_path, "init")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-m", "x")
    found = commit(tracked)
    assert len(found) >= 7 and int(found, 16)
    # a package installed below somebody's clone is not theirs
    assert commit(other) == ""
    tracked.write_text("2")
    assert commit(tracked) == found + "+"


def test_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(tmp_path / "a.py") == ""


def test_the_number_of_threads_is_restored_after_a_failure():
    before = torch.get_num_threads()

    def fail():
        with threads(before + 1):
            assert torch.get_num_threads() == before + 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with threads(None):
        assert torch.get_num_threads() == before
