import errno
import math
import os
import pickle

import pytest
import torch

from fcis.core.errors import InputError
from fcis.training.checkpoints import AtomicCheckpoints, Checkpoints

from .conftest import FakeTrainer, steps


def test_checkpoints_are_written_now_and_then_and_at_the_end(tmp_path, module):
    trainer = FakeTrainer(11)
    steps(trainer, module, [Checkpoints(tmp_path, 4)], 1, 11)
    assert trainer.saved == [("last.ckpt", 4), ("last.ckpt", 8), ("last.ckpt", 11)]


def test_a_checkpoint_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path, files = tmp_path / "last.ckpt", AtomicCheckpoints()
    files.save_checkpoint({"weights": torch.arange(5), "global_step": 1}, path)

    def stops(_, file):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("torch.save", stops)
        with pytest.raises(KeyboardInterrupt):
            files.save_checkpoint({"weights": torch.zeros(5), "global_step": 2}, path)
    loaded = files.load_checkpoint(path)
    assert loaded["global_step"] == 1 and loaded["weights"].tolist() == [0, 1, 2, 3, 4]
    files.save_checkpoint({"weights": torch.zeros(5), "global_step": 2}, path)
    assert files.load_checkpoint(path)["global_step"] == 2
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_run_that_stops_early_leaves_a_checkpoint(tmp_path, module):
    trainer = FakeTrainer(11)
    trainer.should_stop = True
    steps(trainer, module, [Checkpoints(tmp_path, 4)], 3, 3)
    assert trainer.saved == [("last.ckpt", 3)]


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    """The writer of torch turns what the system says into an error of its own."""
    path, files, save = tmp_path / "last.ckpt", AtomicCheckpoints(), torch.save
    files.save_checkpoint({"weights": torch.arange(5), "global_step": 1}, path)
    before = path.read_bytes()

    class FullDisk:
        def __init__(self, file):
            self.file, self.room = file, 10_000

        def write(self, data):
            if len(data) > self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.room -= len(data)
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    monkeypatch.setattr("torch.save", lambda data, file: save(data, FullDisk(file)))
    with pytest.raises(InputError) as caught:
        files.save_checkpoint({"weights": torch.zeros(5000), "global_step": 2}, path)
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); make room and go on with --resume"
    )
    assert path.read_bytes() == before and files.load_checkpoint(path)["global_step"] == 1
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_checkpoint_that_cannot_be_written(tmp_path):
    path = tmp_path / "gone" / "last.ckpt"
    with pytest.raises(InputError, match=r"last\.ckpt: cannot be written \(No such file"):
        AtomicCheckpoints().save_checkpoint({"a": 1}, path)


class Trap:
    """What a hostile checkpoint would run."""

    def __reduce__(self):
        return math.factorial, (3,)


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    torch.save({"state_dict": Trap()}, tmp_path / "last.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpoints().load_checkpoint(tmp_path / "last.ckpt", weights_only=False)
