"""`fcis convert`: from a file of others to a file that predicts, or that training begins with."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.weights.foreign.networks import FULL, release_arrays, resnet_state, to_chainercv
from tests.weights.foreign.params_writer import write_params

from fcis.weights.weights_file import read_arrays, read_info

SMALL = {"anchors": 12, "classes": 2}


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "e2e-0008.params"
    write_params(path, release_arrays(data=SMALL, folded=True))
    return path


@pytest.fixture
def resnet(tmp_path):
    """A ResNet-50 of a few weights, as torchvision would have saved it."""
    path = tmp_path / "resnet50.pth"
    torch.save({n: torch.from_numpy(a) for n, a in resnet_state().items()}, path)
    return path


def test_what_is_said(fcis, params, tmp_path):
    target = tmp_path / "out" / "x.safetensors"
    code, out, err = fcis("convert", params, target)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        str(params),
        "  kind         MXNet, names of the 2017 release",
        "  network      FCIS, ResNet-50, 12 anchors, 2 categories, k 3, 72 box maps",
        "  conventions  release",
        "  trained on   unknown; converted from e2e-0008.params",
        "  taken        277 of 279 arrays",
        "  left out     arg:fcis_bbox_weight_test, arg:fcis_bbox_bias_test: the box stds are "
        "folded in; the network applies them",
        "  note         the categories are named class 1, ...: the file does not name them",
        f"weights: {target}",
        f"try it:  fcis predict IMAGES --weights {target}",
    ]
    assert len(read_arrays(target)) == 277


def test_the_result_predicts_and_is_described(fcis, save, params, tmp_path):
    target = tmp_path / "x.safetensors"
    assert fcis("convert", params, target)[0] == 0
    image = save(tmp_path / "a.png")
    arguments = ("--weights", target, "--size", "32", "--out", tmp_path / "found")
    assert fcis("predict", image, *arguments, "--device", "cpu")[0] == 0
    out = fcis("info", target)[1]
    assert "recipe       coco-resnet101" in out and "2 class 2 (operating threshold 0.700)" in out


def test_chainercv_and_conventions(fcis, tmp_path):
    source, target = tmp_path / "model.npz", tmp_path / "x.safetensors"
    np.savez(source, **to_chainercv(release_arrays(data=SMALL)))
    code, out, _ = fcis("convert", source, target)
    assert code == 0 and "  conventions  chainercv\n" in out
    assert "  note         the file does not say whether ChainerCV trained it, as was ass" in out
    assert (
        "extractor/conv1/bn/N, extractor/res2/a/residual_conv/bn/N and 51 more: counter of" in out
    )
    code, out, _ = fcis("convert", source, target, "--conventions", "release")
    assert code == 0 and "  conventions  release\n" in out and "whether ChainerCV" not in out
    model = read_info(target).model
    assert model.rpn.nms_at_equal is model.detection.nms_at_equal is False


# reports


def test_a_report_as_json(fcis, params, tmp_path):
    report = tmp_path / "there" / "arrays.json"
    code, out, _ = fcis("convert", params, tmp_path / "x.safetensors", "--report", report)
    assert code == 0 and f"report:  {report}\n" in out
    data = json.loads(report.read_text())
    assert data["source"] == str(params) and data["conventions"] == "release"
    names = list(release_arrays(data=SMALL, folded=True))
    assert [row["source"] for row in data["arrays"]] == names
    rows = {row["source"]: row for row in data["arrays"]}
    assert rows["arg:conv_new_1_bias"] | {"sha256": ""} == {
        "source": "arg:conv_new_1_bias",
        "target": "head.reduction.bias",
        "transform": "as is",
        "left_out": None,
        "dtype": "float32",
        "shape": [8],
        "sha256": "",
    }
    assert len(rows["arg:conv_new_1_bias"]["sha256"]) == 16
    spare = rows["arg:fcis_bbox_bias_test"]
    assert spare["left_out"].startswith("the box stds are folded in")
    assert spare["target"] is spare["transform"] is spare["sha256"] is None


def test_a_report_to_read(fcis, params, tmp_path):
    report = tmp_path / "arrays.md"
    assert fcis("convert", params, tmp_path / "x.safetensors", "--report", report)[0] == 0
    lines = report.read_text().splitlines()
    assert lines[0] == "# e2e-0008.params to x.safetensors"
    table = [line for line in lines if line.startswith("| a")]
    assert len(table) == 279 and {line.count("|") for line in table} == {7}
    assert (
        "| arg:fcis_bbox_bias_test | - | left out: the box stds are folded in; the network applies "
        "them | float32 | 72 | - |"
    ) in table
    (row,) = (line for line in table if line.startswith("| arg:conv1_weight "))
    assert row.startswith(
        "| arg:conv1_weight | backbone.conv1.weight | as is | float32 | 6 x 3 x 7 x 7 | "
    )


# backbones


def test_what_is_said_of_a_backbone(fcis, resnet, tmp_path):
    target = tmp_path / "resnet50.safetensors"
    code, out, _ = fcis("convert", resnet, target)
    assert code == 0
    assert "  network      the backbone of an ImageNet classifier, ResNet-50, modern\n" in out
    assert "fc.weight, fc.bias: ImageNet classifier\n" in out
    assert out.endswith(
        "use it:  fcis train --train DATA --val DATA --recipe coco-resnet101 --set "
        f"backbone.depths=[3,4,6,3] --set backbone.variant=modern --weights {target}\n"
    )


@pytest.mark.slow
def test_a_backbone_is_trained_with(fcis, resnet, tmp_path):
    target = tmp_path / "resnet50.safetensors"
    assert fcis("convert", resnet, target)[0] == 0
    settings = {
        "backbone.depths": "[3,4,6,3]", "backbone.variant": "modern",
        "backbone.widths": "[2,3,4,5]", "backbone.stem_width": 6,
        "steps": 1, "training.batch": 1, "short_side": 64, "long_side": 64, "reduction": 8,
        "rpn.channels": 8, "workers": 0,
    }  # fmt: skip
    arguments = [word for k, v in settings.items() for word in ("--set", f"{k}={v}")]
    code, out, err = fcis(
        "train", "--train", "scenes:2:1", "--val", "scenes:1:2", "--recipe", "coco-resnet101",
        "--weights", target, "--out", tmp_path / "run", "--device", "cpu", *arguments,
    )  # fmt: skip
    assert code == 0, err
    assert "head.boxes.bias" in out and "backbone." not in out
    arrays, trained = read_arrays(target), read_arrays(tmp_path / "run" / "best.safetensors")
    # conv2_x is frozen, so it is still the one of the file
    name = "backbone.layer1.2.conv2.weight"
    assert torch.equal(arrays[name], trained[name])


def test_a_basic_backbone_names_no_recipe(fcis, tmp_path):
    from timm.models.resnet import BasicBlock, ResNet

    model = ResNet(BasicBlock, layers=(2, 2, 2, 2), channels=(4, 6, 8, 10), num_classes=3)
    torch.save(model.state_dict(), tmp_path / "resnet18.pth")
    target = tmp_path / "x.safetensors"
    code, out, _ = fcis("convert", tmp_path / "resnet18.pth", target)
    assert code == 0 and "ResNet-18, modern" in out
    assert out.endswith(
        f"use it:  fcis train --weights {target} ..., with a recipe of this backbone\n"
    )


def test_a_backbone_finds_nothing(fcis, refused, save, resnet, tmp_path):
    target = tmp_path / "resnet50.safetensors"
    assert fcis("convert", resnet, target)[0] == 0
    message = (
        f"fcis: {target}: holds a backbone alone, which finds nothing by itself; train with it: "
        f"fcis train --weights {target}\n"
    )
    assert refused("predict", save(tmp_path / "a.png"), "--weights", target) == message
    assert (
        refused("predict", save(tmp_path / "a.png"), "--weights", target, "--size", 64) == message
    )
    assert refused("evaluate", "--data", "scenes:1:1", "--weights", target) == message
    code, out, _ = fcis("info", target)
    assert code == 0
    for text in (
        f"{target}\n",
        "  trained on   ImageNet classification; converted from resnet50.pth\n",
        "  backbone     ResNet-50, modern\n",
        "  use          begin training with it: fcis train --weights FILE\n",
    ):
        assert text in out


def test_a_backbone_of_another_geometry(fcis, refused, resnet, tmp_path):
    target = tmp_path / "resnet50.safetensors"
    assert fcis("convert", resnet, target)[0] == 0
    error = refused(
        "train", "--train", "scenes:2:1", "--val", "scenes:1:2", "--recipe", "coco-resnet101",
        "--weights", target, "--out", tmp_path / "run", "--device", "cpu", "--set",
        "backbone.depths=[3,4,6,3]", "--set", "backbone.widths=[2,3,4,5]", "--set", "stem_width=6",
    )  # fmt: skip
    assert "add --set backbone.variant=modern or take other weights" in error


# what is refused


def test_paths(refused, params, tmp_path):
    target = tmp_path / "x.safetensors"
    assert "gone: no such file; give the file with the w" in refused("convert", "gone", target)
    assert f"{tmp_path}: is a folder; give the file" in refused("convert", tmp_path, target)
    error = refused("convert", params, tmp_path / "x.pth")
    assert "x.pth: expected a name that ends in .safetensors" in error
    error = refused("convert", params, params / "x.safetensors")
    assert "TARGET" in error and "cannot be written" in error
    error = refused("convert", params, target, "--report", tmp_path)
    assert f"--report {tmp_path}: is a folder" in error
    error = refused("convert", params, target, "--report", params)
    assert "source, target and report must be different files" in error
    assert not target.exists()


def test_a_source_is_not_overwritten(refused, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"weights")
    assert "must be different files" in refused("convert", path, path)
    assert path.read_bytes() == b"weights"


def test_a_report_that_cannot_be_written(refused, params, tmp_path):
    for name in ("r.md", "r.json"):
        (tmp_path / f"{name}.partial").mkdir()
        error = refused("convert", params, tmp_path / "x.safetensors", "--report", tmp_path / name)
        assert f"{tmp_path / name}: cannot be written (" in error


def test_bad_files_and_options(refused, params, resnet, tmp_path):
    target = tmp_path / "x.safetensors"
    (tmp_path / "x.params").write_bytes(b"hello")
    assert "x.params: no known kind of weights" in refused("convert", tmp_path / "x.params", target)
    error = refused("convert", params, target, "--conventions", "mine")
    assert "--conventions mine: no such" in error and "release, chainercv, paper" in error
    error = refused("convert", resnet, target, "--conventions", "paper")
    assert "holds a backbone alone, for which there are none; leave it out" in error
    params.write_bytes(params.read_bytes()[:-3])
    assert "e2e-0008.params: " in refused("convert", params, target)
    assert not target.exists()


MEMORY = """
import re
import sys
from pathlib import Path

import fcis.weights.foreign.conversion
from fcis.cli.main import main

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

before = peak()
assert main(["convert", *sys.argv[1:]]) == 0
print((peak() - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory(tmp_path):
    """The arrays, the bytes that are written, and a copy of these while they are made."""
    source, target = tmp_path / "x.params", tmp_path / "x.safetensors"
    data = {"anchors": 12, "classes": 80}
    write_params(source, release_arrays(depths=(3, 4, 23, 3), size=FULL, data=data))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, source, target], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # Seen: 2.9 times the file, 0.65 GiB, on top of 0.7 GiB of the program
    assert int(done.stdout.splitlines()[-1]) < 3.3 * source.stat().st_size
