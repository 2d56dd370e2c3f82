"""Kinds of files by their first bytes, networks by names and shapes."""

import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fcis.core.errors import InputError
from fcis.weights.foreign.detect import detect_origin, find_architecture

from .networks import (
    COCO,
    FULL,
    SLIM,
    VOC,
    backbone_shapes,
    head_shapes,
    release_arrays,
    resnet_state,
    to_chainercv,
)
from .params_writer import VERSIONS, write_params


def shapes_of(arrays):
    return {name: array.shape for name, array in arrays.items()}


# kinds


def write(path, kind):
    if kind in VERSIONS:
        write_params(path, {"arg:a": np.float32([1])}, version=kind)
    elif kind.startswith("npz"):
        save = np.savez if kind == "npz" else np.savez_compressed
        with path.open("wb") as file:
            save(file, a=np.float32([1]))
    elif kind.startswith("torch"):
        torch.save({"a": torch.zeros(1)}, path, _use_new_zipfile_serialization=kind == "torch")
    else:
        save_file({"a": torch.zeros(1)}, path)


@pytest.mark.parametrize("suffix", [".params", ".npz", ".pth", ".safetensors", ""])
@pytest.mark.parametrize(
    ("kind", "origin"),
    [
        *((version, "release") for version in VERSIONS),
        ("npz", "chainercv"),
        ("npz compressed", "chainercv"),
        ("torch", "torch"),
        ("torch before archives", "torch"),
        ("safetensors", "torch"),
    ],
)
def test_suffixes_do_not_matter(tmp_path, kind, origin, suffix):
    path = tmp_path / f"weights{suffix}"
    write(path, kind)
    assert detect_origin(path) == origin


@pytest.mark.parametrize(
    "content", [b"", b"\x12\x01", b"\x12\x01" + b"\0" * 5, b"\x12\x01" + b"\1" * 14, b"hello" * 9]
)
def test_other_files(tmp_path, content):
    path = tmp_path / "x.params"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.params: no known kind of weights; give an MXNet \.p"):
        detect_origin(path)


def test_other_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"x\.npz: no known kind of weights"):
        detect_origin(tmp_path / "x.npz")
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[:-10])
    with pytest.raises(InputError, match=r"x\.npz: a damaged zip file \(.*\); fetch it anew"):
        detect_origin(tmp_path / "x.npz")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"gone: cannot be read \(No such file .*; give an MXNet"):
        detect_origin(tmp_path / "gone")


# networks


@pytest.mark.parametrize("depths", [(3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)])
@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("data", [COCO, VOC, {"anchors": 12, "classes": 1}])
def test_all_sizes_are_read_off(depths, slots, data):
    arrays = release_arrays(depths=depths, data=data, slots=slots)
    for origin, file in (
        ("release", arrays),
        ("chainercv", to_chainercv(arrays, depths, slots)),
    ):
        found = find_architecture(shapes_of(file), origin, "file")
        backbone, head = found.backbone, found.head
        assert (backbone.depths, backbone.widths) == (depths, SLIM["widths"])
        assert (backbone.stem_width, backbone.variant, backbone.block) == (6, "v1", "bottleneck")
        assert (head.num_anchors, head.num_classes) == (data["anchors"], data["classes"])
        assert (head.k, head.box_slots, head.reduction, head.rpn_channels) == (3, slots, 8, 7)
        assert (found.origin, found.stem_bias) == (origin, False)


@pytest.mark.parametrize(("data", "maps"), [(COCO, 7938), (VOC, 2058)])
def test_sizes_of_the_release(data, maps):
    shapes = backbone_shapes((3, 4, 23, 3), FULL["widths"], FULL["stem"])
    shapes |= head_shapes(**FULL, **data)
    assert len(shapes) == 532 and shapes["arg:fcis_cls_seg_weight"][0] == maps
    found = find_architecture(shapes, "release", "file").head
    assert (found.k, found.box_slots, found.num_classes) == (7, 2, data["classes"])


def test_classifiers():
    shapes = backbone_shapes() | {"arg:fc1000_weight": (1000, 20), "arg:fc1000_bias": (1000,)}
    found = find_architecture(shapes, "release", "file")
    assert found.head is None and not found.stem_bias and found.backbone.variant == "v1"
    assert find_architecture(shapes | {"arg:conv1_bias": (6,)}, "release", "file").stem_bias
    found = find_architecture(shapes_of(resnet_state((3, 8, 36, 3))), "torch", "file")
    assert found.head is None and found.backbone.variant == "modern"
    assert (found.backbone.depths, found.backbone.widths) == ((3, 8, 36, 3), (2, 3, 4, 5))


def test_basic_blocks():
    state = {f"layer{n}.{b}.conv1.weight": (2 * n, 2, 3, 3) for n in range(1, 5) for b in (0, 1)}
    found = find_architecture(state | {"conv1.weight": (9, 3, 7, 7)}, "torch", "file").backbone
    assert (found.block, found.depths) == ("basic", (2, 2, 2, 2))
    assert (found.widths, found.stem_width) == ((2, 4, 6, 8), 9)


# what is refused


def without(shapes, *names):
    return {n: s for n, s in shapes.items() if n not in names}


RELEASE = backbone_shapes() | head_shapes(**{**SLIM, "widths": (2, 3, 4, 5)}, **COCO)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, r"^file: its arrays are not those of a ResNet that can be converted \(there is no "),
        ({"arg:fc_weight": (1,)}, "there is no arg:res2a_branch2a_weight, or another stage"),
        (without(RELEASE, *(n for n in RELEASE if "3d" in n)), "has 3, 3, 6, 3 blocks in its stag"),
        (without(RELEASE, "arg:conv1_weight"), "arg:conv1_weight is missing; is the file complete"),
        (without(RELEASE, "arg:res4a_branch2a_weight"), "arg:res4a_branch2a_weight is missing"),
        (without(RELEASE, "arg:fcis_cls_seg_weight"), "arg:fcis_cls_seg_weight is missing"),
        (without(RELEASE, "arg:rpn_cls_score_weight"), "arg:rpn_cls_score_weight is missing"),
        (RELEASE | {"arg:conv1_weight": (6,)}, r"conv1_weight is \(6,\), expected the weight of a"),
        (RELEASE | {"arg:conv1_weight": (0, 3, 7, 7)}, r"is \(0, 3, 7, 7\), expected the weight"),
        (RELEASE | {"arg:conv_new_1_weight": ()}, r"conv_new_1_weight is \(\), expected the wei"),
        (
            RELEASE | {"arg:fcis_bbox_weight": (76, 8, 1, 1)},
            r"has 76 box maps, expected 4 k\^2 or 8 k\^2",
        ),
        (
            RELEASE | {"arg:fcis_cls_seg_weight": (100, 8, 1, 1)},
            "has 100 score maps, expected 2 k.2 for each category and for the background, where th",
        ),
        (RELEASE | {"arg:fcis_cls_seg_weight": (18, 8, 1, 1)}, "has 18 score maps"),
        (
            without(RELEASE, "arg:fcis_bbox_weight") | {"arg:fcis_bbox_weight_test": (72, 8, 1, 1)},
            "has arg:fcis_bbox_weight_test, into which the box stds are folded, but not the plain",
        ),
        (
            {"extractor/res1/conv1/W": (1,)},
            "has the names of knorth55/chainer-fcis, whose box maps may have the box stds folded",
        ),
        ({"head/psroi_conv1/W": (1,)}, "has the names of knorth55/chainer-fcis"),
        ({"backbone.conv1.weight": (1,)}, "is a weights file of fcis already; use it as it is"),
        ({"arg:stage1_unit1_bn1_gamma": (1,)}, "is MXNet's pre-activation ResNet, another network"),
        ({"0": (1,), "1": (2,)}, "its arrays have no names; save them with names"),
    ],
)
def test_other_networks(shapes, message):
    with pytest.raises(InputError, match=message):
        find_architecture(shapes, "release", "file")


def test_chainercv_has_no_backbones_alone():
    shapes = shapes_of(to_chainercv(release_arrays()))
    rest = {n: s for n, s in shapes.items() if n.startswith("extractor")}
    with pytest.raises(InputError, match="file: rpn/conv1/W is missing"):
        find_architecture(rest, "chainercv", "file")
