import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fcis.core.errors import InputError
from fcis.weights.foreign.state_dict import read_state_dict

each_format = pytest.mark.parametrize("archive", [True, False], ids=["archive", "legacy"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.pth"


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def save(content, path, archive=True):
    torch.save(content, path, _use_new_zipfile_serialization=archive)


def same(found, network):
    expected = network.state_dict()
    del expected["1.num_batches_tracked"]
    return list(found) == list(expected) and all(
        np.array_equal(found[name], value.numpy()) for name, value in expected.items()
    )


@each_format
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_torch_files(path, network, archive, key):
    state = network.state_dict()
    save({key: state, "epoch": 3} if key else state, path, archive)
    assert same(read_state_dict(path), network)


def test_safetensors_files(tmp_path, network):
    path = tmp_path / "w.safetensors"
    save_file(network.state_dict(), path, metadata={"format": "pt"})
    found = read_state_dict(path)
    assert len(found) == 6
    # that library has an order of its own
    assert same({name: found[name] for name in network.state_dict() if name in found}, network)


def test_arrays_called_like_a_key_of_old(path):
    """A layer may be called `model` too; only a dictionary there holds the arrays."""
    save({"model": torch.ones(2)}, path)
    assert read_state_dict(path)["model"].tolist() == [1, 1]


@pytest.mark.parametrize("kind", [torch.float16, torch.float64, torch.int64, torch.bool])
def test_types_are_kept(path, kind):
    save({"a": torch.tensor([[1, 0]]).to(kind), "b": nn.Parameter(torch.ones(1))}, path)
    found = read_state_dict(path)
    assert found["a"].dtype.name == str(kind).removeprefix("torch.")
    assert found["a"].tolist() == [[1, 0]] and found["b"].tolist() == [1]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_bfloat16_is_read_as_float32(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    (save if suffix == ".pth" else save_file)({"a": torch.tensor([1.5]).bfloat16()}, path)
    array = read_state_dict(path)["a"]
    assert array.dtype == np.float32 and array.tolist() == [1.5]


# what is not read


class Hostile:
    """Makes a file where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def hostile_file(path, made, kind):
    if kind == "bare":
        path.write_bytes(pickle.dumps(Hostile(made), protocol=2))
    else:
        save({"a": torch.ones(1), "b": Hostile(made)}, path, kind == "archive")


@pytest.mark.parametrize("kind", ["archive", "legacy", "bare"])
def test_code_is_not_run(tmp_path, path, kind):
    made = tmp_path / "made"
    hostile_file(path, made, kind)
    with pytest.raises(
        InputError, match=r"w\.pth: asks for \w+\.mkdir, which could run code, so it is not read; "
    ):
        read_state_dict(path)
    assert not made.exists()


def test_the_hostile_file_would_do_harm(tmp_path, path):
    """Else the test above could not fail."""
    hostile_file(path, tmp_path / "made", "archive")
    torch.load(path, weights_only=False)
    assert (tmp_path / "made").exists()


@each_format
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (nn.Linear(2, 2), r"asks for torch\.nn\.modules\.linear\.Linear, which could run code"),
        ({"a": 3}, "'a' is int, expected an array; save it anew with torch.save"),
        ({"a": torch.ones(1), "b": "text"}, "'b' is str, expected an array; "),
        ({"state_dict": {"a": None}}, "'a' is NoneType, expected an array; "),
        ([torch.ones(1)], r"holds no arrays by name \(list\); save it anew with torch.save"),
        (torch.ones(1), r"holds no arrays by name \(Tensor\); "),
        ({1: torch.ones(1)}, r"holds no arrays by name \(dict\); "),
        ({"a": torch.ones(1).expand(2**40)}, "'a' has fewer numbers than its shape; save it dense"),
        (
            {"a": torch.ones(3, device="meta")},
            "'a' is no dense array of real numbers; save it as one",
        ),
        ({"a": torch.eye(3).to_sparse()}, "'a' is no dense array of real numbers; save it as one"),
        ({"a": torch.ones(1, dtype=torch.complex64)}, "'a' is no dense array of real numbers"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor:UserWarning")
def test_what_is_not_arrays(path, archive, content, problem):
    save(content, path, archive)
    with pytest.raises(InputError, match=rf"^{path}: {problem}"):
        read_state_dict(path)


def test_types_that_numpy_lacks(path):
    save({"a": torch.ones(1).to(torch.float8_e4m3fn)}, path)
    with pytest.raises(InputError, match=r"'a' holds torch\.float8_e4m3fn, which is not read; "):
        read_state_dict(path)


@pytest.mark.parametrize(
    "data", [b"", b"PK\3\4", b"\x80\2.", b"\x80\2", b"<html>", bytes(range(256)), b"PK\3\4" * 30]
)
def test_no_state_dict(path, data):
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"^{path}: (is )?no state dict of torch, or .*; [fs]"):
        read_state_dict(path)


@each_format
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
def test_files_cut_short(path, network, archive, part):
    save(network.state_dict(), path, archive)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match=r"w\.pth: .*no state dict of torch, or .*; ") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


def test_an_archive_that_unpacks_to_more(path, network):
    save(network.state_dict(), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match="is compressed, which torch never does; unpack it first"):
        read_state_dict(path)


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, bytes(100), b"PK\3\4"])
def test_no_safetensors(tmp_path, data):
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"w\.safetensors: no safetensors file, or damaged .*; "):
        read_state_dict(path)


def test_no_file(tmp_path, path):
    for missing in (path, tmp_path):
        with pytest.raises(InputError, match=rf"{missing}: no such file; give a .pth, .pt or"):
            read_state_dict(missing)
