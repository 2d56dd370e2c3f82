import pytest
import torch

from fcis.core.devices import choose_device
from fcis.core.errors import InputError


def test_choose_device(monkeypatch):
    assert choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert (choose_device("auto"), choose_device("mps")) == ("mps", "mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == "cuda"
    assert (choose_device("cuda"), choose_device("cuda:1")) == ("cuda", "cuda:1")
    with pytest.raises(InputError, match="device cuda:2: there are 2, counted from cuda:0"):
        choose_device("cuda:2")


@pytest.mark.parametrize("text", ["", "tpu", "cuda:", "cuda:x", "cpu:0", "mps:1", "cuda:²", "CPU"])
def test_devices_that_are_none(text):
    with pytest.raises(InputError, match=r"device .*: must be auto, cpu, cuda, cuda:N or mps"):
        choose_device(text)


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for text, message in (("cuda:0", "torch sees no CUDA"), ("mps", "torch sees no MPS")):
        with pytest.raises(InputError, match=f"device {text}: {message} device; use cpu"):
            choose_device(text)
