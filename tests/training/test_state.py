import errno
import math
import os

import pytest
import torch

from fcis.core.errors import InputError
from fcis.model.build import build_model
from fcis.training.log import Log
from fcis.training.state import AVERAGE, RunState

from .run_cases import with_training


@pytest.fixture
def state_of(tmp_path, tiny):
    """A function: the state of a run that has not begun."""

    def make(seed=0, ema=0.0):
        recipe = with_training(tiny, ema=ema)
        model = build_model(recipe.model, seed=seed)
        return RunState(model, recipe.training, Log(tmp_path, 20, 2))

    return make


def changed(state):
    """The same state after two steps."""
    for _ in range(2):
        for parameter in state.model.parameters():
            parameter.grad = torch.full_like(parameter, 0.1)
        state.optimiser.step()
        state.schedule.step()
        state.step += 1
        state.log.add_step(state.step, {"loss": 1.5, "lr": 0.1})
    state.best.add(0.25, 2)
    state.best.add(0.1, 2)
    if state.average:
        for value in state.average.parameters():
            value.mul_(0.3)
    return state


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_checkpoint_holds_all_to_the_bit(tmp_path, state_of, ema):
    path = tmp_path / "last.ckpt"
    first, second = changed(state_of(ema=ema)), state_of(seed=5, ema=ema)
    first.save(path)
    second.load(path)
    assert second.step == 2
    for one, two in ((first.model, second.model), (first.validated, second.validated)):
        for name, value in one.state_dict().items():
            assert torch.equal(two.state_dict()[name], value), name
    one, two = (s.optimiser.state_dict() for s in (first, second))
    assert one["param_groups"] == two["param_groups"]
    for number, moments in one["state"].items():
        assert all(torch.equal(v, two["state"][number][k]) for k, v in moments.items())
    assert first.schedule.state_dict() == second.schedule.state_dict()
    assert first.schedule.get_last_lr() == second.schedule.get_last_lr()
    assert first.log.state_dict() == second.log.state_dict() != {"sums": {}, "count": 0}
    assert (second.best.value, second.best.step, second.best.stale) == (0.25, 2, 1)


def test_the_average_is_what_is_validated(state_of):
    plain, averaged = state_of(), state_of(ema=0.9)
    assert plain.average is None and plain.validated is plain.model
    assert averaged.validated is averaged.average is not averaged.model
    assert not averaged.average.training and averaged.model.training
    assert not any(p.requires_grad for p in averaged.average.parameters())


def test_a_checkpoint_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch, state_of):
    path, state = tmp_path / "last.ckpt", state_of()
    state.save(path)
    before = path.read_bytes()

    def stops(_, file):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("torch.save", stops)
        with pytest.raises(KeyboardInterrupt):
            changed(state).save(path)
    assert path.read_bytes() == before
    state.save(path)
    other = state_of(seed=5)
    other.load(path)
    assert other.step == 2
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch, state_of):
    """The writer of torch turns what the system says into an error of its own."""
    path, state, save = tmp_path / "last.ckpt", state_of(), torch.save
    state.save(path)
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
        changed(state).save(path)
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); make room and go on with --resume"
    )
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_checkpoint_that_cannot_be_written(tmp_path, state_of):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"last\.ckpt: cannot be written \(.+\); make room and go"):
        state_of().save(tmp_path / "file" / "last.ckpt")


class Trap:
    """What a hostile checkpoint would run."""

    def __reduce__(self):
        return math.factorial, (3,)


def without(*names):
    def change(checkpoint):
        *path, last = names
        for name in path:
            checkpoint = checkpoint[name]
        del checkpoint[last]

    return change


DAMAGES = {
    "no network": without("state_dict"),
    "no optimiser": without("optimizer_states", 0),
    "no moments": without("optimizer_states", 0, "state"),
    "no schedule": without("lr_schedulers"),
    "no average": without(AVERAGE),
    "an array too few": without("state_dict", "model.rpn.scores.bias"),
    "no best": without("callbacks", "Validation", "best"),
    "no losses": without("callbacks", "Metrics"),
    "no step": without("global_step"),
    "an average of another network": lambda c: c.update({AVERAGE: {"a": torch.zeros(1)}}),
    "a word for a step": lambda c: c.update(global_step="many"),
    "an array of another shape": lambda c: c["state_dict"].update(
        {"model.rpn.scores.bias": torch.zeros(1)}
    ),
    "a figure that is none": lambda c: c["callbacks"]["Validation"].update(best="good"),
    "something that runs": lambda c: c.update(state_dict=Trap()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_said_in_one_line(tmp_path, state_of, damage):
    path = tmp_path / "last.ckpt"
    changed(state_of(ema=0.9)).save(path)
    checkpoint = torch.load(path, weights_only=True)
    damage(checkpoint)
    torch.save(checkpoint, path)
    with pytest.raises(InputError) as caught:
        state_of(ema=0.9).load(path)
    assert str(caught.value) == (
        f"{path}: damaged; delete it to begin this run anew, or choose another --out"
    )


@pytest.mark.parametrize("content", [b"", b"broken", b"PK\x03\x04half"])
def test_what_is_no_checkpoint_at_all(tmp_path, state_of, content):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"last\.ckpt: damaged; delete it to begin this run anew"):
        state_of().load(path)
