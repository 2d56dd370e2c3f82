"""Bytes are exact on a CPU."""

import pytest
import torch

from fcis.lab.benchmark.memory import peak_bytes

MB = 2**20


def test_the_peak_is_what_is_held_at_once():
    kept = torch.zeros(MB, dtype=torch.uint8)

    def work():
        first = torch.zeros(3 * MB, dtype=torch.uint8)
        second = torch.zeros(2 * MB, dtype=torch.uint8)
        del first, second
        return torch.zeros(4 * MB, dtype=torch.uint8)

    assert peak_bytes(work, "cpu") == 5 * MB
    # what is there already does not count
    assert peak_bytes(kept.clone, "cpu") == MB


def test_what_stays_counts_and_views_do_not():
    assert peak_bytes(lambda: torch.zeros(MB, dtype=torch.uint8), "cpu") == MB
    kept = torch.zeros(MB)
    assert peak_bytes(lambda: kept[::2].reshape(2, -1).T, "cpu") == 0


def test_the_gradient_counts():
    values = torch.ones(MB, dtype=torch.float32, requires_grad=True)

    def work():
        return torch.autograd.grad((values * values).sum(), values)

    # the product, its gradient's two halves, a few scalars
    assert 8 * MB <= peak_bytes(work, "cpu") <= 17 * MB


def test_other_devices_do_not_tell():
    assert peak_bytes(lambda: None, "meta") is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_peak_on_a_gpu():
    def work():
        first = torch.zeros(3 * MB, dtype=torch.uint8, device="cuda")
        return first + 1

    assert peak_bytes(work, "cuda") == 6 * MB
