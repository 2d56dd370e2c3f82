"""Arrays out of torch's state dicts and of plain safetensors files.

Nothing in a file is ever executed: torch reads with `weights_only`, and safetensors has no code.
"""

import pickle
import re
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from fcis.core.errors import InputError
from fcis.core.guard import guarded

_GLOBAL = re.compile(r"GLOBAL (\S+)")
_NESTED = ("state_dict", "model")


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of a `.pth`, `.pt` or `.safetensors` file by name, in the file's order.

    Names are those of the layers, as in `layer1.0.conv1.weight`; those of torchvision and timm are
    ours. In a torch file the arrays may lie under `state_dict` or `model`. Counters of batches
    (`num_batches_tracked`) are left out. Arrays of bfloat16 become float32, all others keep their
    type.

    Raises:
        InputError: no such file, neither of the formats, damaged, or something else than arrays in
            it, code included.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a .pth, .pt or .safetensors file")
    tensors = _safetensors(path) if _is_safetensors(path) else _torch_file(path)
    return {
        name: _array(path, name, value)
        for name, value in tensors.items()
        if not name.endswith("num_batches_tracked")
    }


def _is_safetensors(path: Path) -> bool:
    if path.suffix == ".safetensors":
        return True
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"  # after its length, the header begins
    except OSError:
        return False  # the other reader says why


def _safetensors(path: Path) -> dict[str, Tensor]:
    say = partial(_damaged, path, "safetensors file")
    with guarded(say), safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def _torch_file(path: Path) -> dict[str, object]:
    _refuse_compressed(path)
    with guarded(partial(_refused, path)):
        content = torch.load(path, map_location="cpu", weights_only=True)
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise InputError(
            f"{path}: holds no arrays by name ({type(content).__name__}); save it anew with "
            "torch.save(model.state_dict(), ...)"
        )
    return dict(content)


def _refused(path: Path, error: Exception) -> InputError:
    """Return what is said of a file that torch does not read."""
    if not isinstance(error, pickle.UnpicklingError):
        return _damaged(path, "state dict of torch", error)
    asked = _GLOBAL.search(str(error))
    problem = (
        f"asks for {asked.group(1)[:80]}, which could run code"
        if asked
        else "is no state dict of torch, or has more than arrays in it"
    )
    return InputError(
        f"{path}: {problem}, so it is not read; save model.state_dict() alone, with torch.save"
    )


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    return InputError(f"{path}: no {kind}, or damaged ({_first_line(error)}); fetch it anew")


def _refuse_compressed(path: Path) -> None:
    """Refuse an archive that could unpack to more than its size; torch compresses nothing."""
    if not zipfile.is_zipfile(path):
        return  # the format before archives, or none
    with guarded(partial(_damaged, path, "state dict of torch")), zipfile.ZipFile(path) as archive:
        stored = all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
    if not stored:
        raise InputError(f"{path}: is compressed, which torch never does; unpack it first")


def _array(path: Path, name: str, value: object) -> np.ndarray:
    if not isinstance(value, Tensor):
        raise InputError(
            f"{path}: {name[:80]!r} is {type(value).__name__}, expected an array; save "
            "it anew with torch.save(model.state_dict(), ...)"
        )
    dense = value.layout == torch.strided and not value.is_quantized
    if not dense or value.device.type != "cpu" or value.is_complex():
        raise InputError(f"{path}: {name[:80]!r} is no dense array of real numbers; save it as one")
    # what is spread out of fewer numbers, a few bytes could otherwise fill the memory
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InputError(f"{path}: {name[:80]!r} has fewer numbers than its shape; save it dense")
    value = value.detach()
    try:
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    except (TypeError, RuntimeError):
        raise InputError(
            f"{path}: {name[:80]!r} holds {value.dtype}, which is not read; save it as float32"
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0].split(". ")[0][:200] or type(error).__name__
