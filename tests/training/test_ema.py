import torch
from torch import nn

from fcis.model.build import build_model
from fcis.training.ema import begin_average, decay_at, move_average


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
    model = build_model(tiny.model)
    average = begin_average(model)
    start = model.head.reduction.bias.detach().clone()
    expected = start.double()
    for step in range(1, 13):
        with torch.no_grad():
            model.head.reduction.bias.fill_(float(step))
        move_average(average, model, decay_at(step - 1, 0.5))
        kept = min(0.5, step / (step + 9))
        expected = kept * expected + (1 - kept) * step
    found = average.head.reduction.bias
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert model.head.reduction.bias.unique().tolist() == [12.0]
    untouched = average.rpn.state_dict()
    for name, value in model.rpn.state_dict().items():
        assert torch.equal(untouched[name], value), name
