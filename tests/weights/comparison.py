"""Whether two networks hold the same."""

import torch


def same_arrays(first, second):
    return all(torch.equal(v, second.state_dict()[k]) for k, v in first.state_dict().items())
