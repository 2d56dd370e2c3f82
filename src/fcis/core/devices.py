"""The name of a device -> the same, checked."""

import torch

from fcis.core.errors import InputError


def choose_device(text: str) -> str:
    """Return the device of that name; `auto` takes a CUDA device, else MPS, else the CPU.

    Raises:
        InputError: no such device on this machine.
    """
    if text == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, colon, number = text.partition(":")
    numbered = kind == "cuda" and number.isascii() and number.isdigit()
    if kind not in ("cpu", "cuda", "mps") or (colon and not numbered):
        raise InputError(f"device {text}: must be auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {text}: torch sees no CUDA device; use cpu")
    if number and int(number) >= torch.cuda.device_count():
        raise InputError(
            f"device {text}: there are {torch.cuda.device_count()}, counted from cuda:0"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {text}: torch sees no MPS device; use cpu")
    return text
