"""Damaged, foreign and hostile files."""

import json
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from fcis.core.errors import InputError
from fcis.model.build import build_model
from fcis.recipe.as_json import to_json
from fcis.weights.weights_file import check_fits, read_arrays, read_info


def crafted(path, header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def test_no_such_file(tmp_path):
    for path in (tmp_path / "gone.safetensors", tmp_path):
        for read in (read_info, read_arrays):
            with pytest.raises(InputError, match=r"no such weights file; `fcis info` lists"):
                read(path)


def test_damaged_files(saved_path):
    whole = saved_path.read_bytes()
    length = len(whole)
    contents = [b"", b"\xff" * 100, b"PK\x03\x04" + b"\0" * 50]
    contents += [whole[:cut] for cut in (4, 8, 100, length // 2, length - 1)]
    contents.append(whole + b"more")
    for content in contents:
        saved_path.write_bytes(content)
        for read in (read_info, read_arrays):
            with pytest.raises(InputError, match=r"w\.safetensors: not a safetensors file or dam"):
                read(saved_path)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}},
        {"a": {"dtype": "XX", "shape": [1], "data_offsets": [0, 4]}},
        {"__metadata__": {"fcis": 3}},
        b"[" * 100_000,
    ],
)
def test_headers_that_lie(tmp_path, header):
    path = tmp_path / "w.safetensors"
    crafted(path, header, b"\0" * 4)
    with pytest.raises(InputError, match="not a safetensors file or damaged"):
        read_arrays(path)


@pytest.mark.parametrize(("dtype", "size"), [("I64", 8), ("BOOL", 1), ("C64", 8)])
def test_arrays_of_other_than_real_numbers(tmp_path, dtype, size):
    path = tmp_path / "w.safetensors"
    crafted(path, {"x": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}, b"\0" * size)
    with pytest.raises(InputError, match=r"w\.safetensors: x holds torch\.\w+, expected real num"):
        read_arrays(path)


def test_a_file_of_others(tmp_path):
    path = tmp_path / "w.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"a": torch.zeros(2)}, path, metadata=metadata)
        with pytest.raises(InputError, match="has no description by fcis"):
            read_info(path)


def described(path, entry):
    text = entry if isinstance(entry, str) else json.dumps(entry)
    save_file({"a": torch.zeros(2)}, path, metadata={"fcis": text})


@pytest.mark.parametrize(
    "change",
    [
        "{",
        "[]",
        "3",
        "null",
        "[" * 200_000,
        {"model": None, "format": 3},
        {"thresholds": 3},
        {"thresholds": ["x", "y"]},
        {"metrics": [1]},
        {"metrics": {"AP": "x"}},
        {"metrics": {"AP": None}},
        {"spread": [1]},
        {"spread": {"AP": "x"}},
        {"calibration": 3},
        {"calibration": {"temperature": 1.0}},
        {"calibration": {"temperature": "x", "bias": 0.0}},
        {"calibration": {"temperature": 0.0, "bias": 0.0}},
        {"calibration": {"temperature": float("nan"), "bias": 0.0}},
    ],
)
def test_damaged_descriptions(tmp_path, saved_info, change):
    path = tmp_path / "w.safetensors"
    entry = json.loads(json.dumps(entry_of(saved_info)))
    described(path, change if isinstance(change, str) else entry | change)
    with pytest.raises(
        InputError, match=r"w\.safetensors: (its description is damaged|model: exp)"
    ):
        read_info(path)


def entry_of(info):
    return {
        "format": 3,
        "model": to_json(info.model),
        "recipe": info.recipe,
        "thresholds": list(info.thresholds),
        "training_data": info.training_data,
        "metrics": dict(info.metrics),
        "licence": info.licence,
    }


@pytest.mark.parametrize("field", ["format", "model", "recipe", "thresholds", "metrics", "licence"])
def test_descriptions_with_a_field_missing(tmp_path, saved_info, field):
    entry = entry_of(saved_info)
    del entry[field]
    described(tmp_path / "w.safetensors", entry)
    with pytest.raises(InputError, match="its description is damaged"):
        read_info(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 5}, r"w\.safetensors: format 5 is not known; update fcis"),
        ({"model": {"version": 3}}, r"w\.safetensors: model: version 3 is not known; update fcis"),
        ({"model": {"shape": 1}}, r"w\.safetensors: model: unknown field 'shape'"),
        ({"thresholds": [0.5]}, "has 1 thresholds for 2 categories"),
        ({"thresholds": [0.5, float("nan")]}, "a threshold is not finite"),
    ],
)
def test_descriptions_that_make_no_sense(tmp_path, saved_info, change, message):
    described(tmp_path / "w.safetensors", entry_of(saved_info) | change)
    with pytest.raises(InputError, match=message):
        read_info(tmp_path / "w.safetensors")


def test_a_description_of_another_network_is_found_without_memory(saved_path, saved_info):
    huge = replace(saved_info.model.backbone, widths=(2**16,) * 4)
    recipes = saved_info.model, replace(saved_info.model, backbone=huge)
    with torch.device("meta"):
        fitting, other = map(build_model, recipes)
    check_fits(saved_path, fitting)
    with pytest.raises(InputError, match=r"w\.safetensors: does not fit the model \(.* instead of"):
        check_fits(saved_path, other)
