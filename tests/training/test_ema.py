import pytest
import torch
from torch import nn

from fcis.core.errors import InputError
from fcis.model.build import build_model
from fcis.training.ema import AVERAGE, WeightAverage, decay_at, move_average
from fcis.training.module import TrainingModule

from .conftest import FakeTrainer


def test_the_decay_warms_up():
    assert [decay_at(t, 0.9) for t in (0, 1, 2)] == [1 / 10, 2 / 11, 3 / 12]
    assert decay_at(79, 0.9) == 80 / 89 and decay_at(80, 0.9) == 0.9
    assert decay_at(10**6, 0.9) == 0.9


def normalised(weight):
    """A layer with statistics; everything that is a real number in it is `weight`."""
    model = nn.BatchNorm1d(2)
    for value in model.state_dict().values():
        value.fill_(weight)
    return model


def test_weights_and_statistics_are_averaged_and_counts_copied():
    average, model = normalised(1.0), normalised(3.0)
    move_average(average, model, 0.75)
    state = average.state_dict()
    assert state.pop("num_batches_tracked").item() == 3
    assert set(state) == {"weight", "bias", "running_mean", "running_var"}
    assert all(value.tolist() == [1.5, 1.5] for value in state.values())
    assert all(value.tolist() == [3.0, 3.0] for value in model.parameters())


def test_the_average_follows_the_steps_in_closed_form(tiny):
    """With the weight at n in step n, the average is a weighted mean, computed apart."""
    module = TrainingModule(build_model(tiny.model), tiny)
    average, trainer = WeightAverage(module.model, 0.5), FakeTrainer(30)
    start = module.model.head.reduction.bias.detach().clone()
    assert not any(p.requires_grad for p in average.model.parameters())
    average.on_train_start(trainer, module)
    expected = start.double()
    for step in range(1, 13):
        with torch.no_grad():
            module.model.head.reduction.bias.fill_(float(step))
        trainer.step = step
        average.on_train_batch_end(trainer, module, None, None, step - 1)
        kept = min(0.5, step / (step + 9))
        expected = kept * expected + (1 - kept) * step
    found = average.model.head.reduction.bias
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert module.model.head.reduction.bias.unique().tolist() == [12.0]
    untouched = average.model.rpn.state_dict()
    for name, value in module.model.rpn.state_dict().items():
        assert torch.equal(untouched[name], value), name


def test_a_checkpoint_holds_the_average_to_the_bit(tiny):
    module, trainer = TrainingModule(build_model(tiny.model), tiny), FakeTrainer(9)
    average = WeightAverage(module.model, 0.9)
    with torch.no_grad():
        for value in module.model.parameters():
            value.mul_(0.3)
    trainer.step = 1
    average.on_train_batch_end(trainer, module, None, None, 0)
    checkpoint = {"state_dict": module.state_dict()}
    average.on_save_checkpoint(trainer, module, checkpoint)
    other = WeightAverage(build_model(tiny.model, seed=5), 0.9)
    other.on_load_checkpoint(trainer, module, checkpoint)
    for name, value in average.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], value), name


@pytest.mark.parametrize("wrong", [{}, {AVERAGE: None}, {AVERAGE: {"a": torch.zeros(1)}}])
def test_a_checkpoint_without_an_average(tiny, module, wrong):
    average = WeightAverage(module.model, 0.9)
    with pytest.raises(InputError, match="has no averaged weights; delete it to begin this run"):
        average.on_load_checkpoint(FakeTrainer(1), module, wrong)
