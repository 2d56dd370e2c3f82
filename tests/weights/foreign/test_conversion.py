"""Files of others become weights files: every array in its place, nothing left over."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fcis.core.errors import InputError
from fcis.inference.predictor import load_predictor
from fcis.model.build import build_model
from fcis.recipe.conventions import CHAINERCV, RELEASE, with_conventions
from fcis.weights.foreign.conversion import account, check_box_stds, convert_arrays, convert_file
from fcis.weights.foreign.mapping import (
    RELEASE_SPARE,
    chainercv_names,
    official_head_names,
    official_names,
    release_moves,
)
from fcis.weights.weights_file import load_weights, read_arrays, read_info

from .networks import (
    COCO,
    FULL,
    VOC,
    backbone_shapes,
    filled,
    release_arrays,
    resnet_state,
    to_chainercv,
)
from .params_writer import write_params

SMALL = {"anchors": 12, "classes": 2}
BOX_STDS = (0.2, 0.2, 0.5, 0.5)
FILE = Path("x.params")


def same(arrays, others):
    return arrays.keys() == others.keys() and all(
        a.tobytes() == others[n].numpy().tobytes() for n, a in arrays.items()
    )


def ours(arrays, depths=(3, 4, 6, 3)):
    """The release's arrays by our names, through the names alone."""
    names = {f"backbone.{o}": t for o, t in official_names(depths).items()}
    return {o: arrays[t] for o, t in (names | official_head_names()).items()}


# whole models


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("data", [COCO, VOC])
def test_files_of_the_release(tmp_path, data, folded):
    arrays = release_arrays(data=data, folded=folded)
    source, target = tmp_path / "e2e-0008.params", tmp_path / "x.safetensors"
    write_params(source, arrays)
    conversion = convert_file(source, target)
    assert same(ours(arrays), read_arrays(target))
    info = read_info(target)
    assert info == conversion.description.info and info.model.head.box_slots == 2
    load_weights(target, build_model(info.model))
    # every array has its record, in the file's order
    assert [r.source for r in conversion.arrays] == list(arrays)
    assert [r.source for r in conversion.arrays if r.reason] == (
        ["arg:fcis_bbox_weight_test", "arg:fcis_bbox_bias_test"] if folded else []
    )
    assert {r.target for r in conversion.arrays if not r.reason} == read_arrays(target).keys()


@pytest.mark.slow
@pytest.mark.parametrize(("data", "folded", "count"), [(COCO, True, 534), (VOC, False, 532)])
def test_files_of_the_release_in_full_size(tmp_path, data, folded, count):
    depths = (3, 4, 23, 3)
    arrays = release_arrays(depths=depths, size=FULL, data=data, folded=folded)
    assert len(arrays) == count
    source, target = tmp_path / "fcis_coco-0000.params", tmp_path / "x.safetensors"
    write_params(source, arrays)
    convert_file(source, target)
    assert same(ours(arrays, depths), read_arrays(target))
    info = read_info(target)
    assert len(info.model.class_names) == data["classes"] and info.model.head.k == 7
    if data is COCO:
        assert info.training_data == "COCO trainval35k, as released in 2017"


def by_hand(file):
    """Our arrays of the reference network, with its sizes and the table in reference 8.4."""
    names = chainercv_names((3, 4, 23, 3))
    state = {f"backbone.{ours}": file[theirs] for ours, theirs in names.items()}
    for ours, theirs in (
        ("rpn.conv", "rpn/conv1"),
        ("rpn.scores", "rpn/score"),
        ("rpn.deltas", "rpn/loc"),
        ("head.reduction", "head/conv1"),
        ("head.classes", "head/cls_seg"),
        ("head.boxes", "head/ag_loc"),
    ):
        for array, letter in (("weight", "W"), ("bias", "b")):
            value = file[f"{theirs}/{letter}"]
            rest = value.shape[1:]
            if ours == "rpn.scores":
                value = value.reshape(12, 2, *rest).swapaxes(0, 1)
            if ours == "rpn.deltas":
                value = value.reshape(12, 4, *rest)[:, [1, 0, 3, 2]]
            if ours == "head.boxes":
                value = value.reshape(2, 4, 49, *rest)[:, [1, 0, 3, 2]]
            state[f"{ours}.{array}"] = value.reshape(-1, *rest)
    return state


@pytest.mark.slow
def test_the_reference_network(reference_npz, reference_weights):
    """From the command line to the predictor, bit for bit what was mapped by hand."""
    predictor = load_predictor(reference_weights, fold=False)
    recipe = predictor.model.recipe
    assert recipe == with_conventions(recipe, CHAINERCV)
    with np.load(reference_npz) as file:
        assert same(by_hand(file), predictor.model.state_dict())


@pytest.mark.parametrize("slots", [1, 2])
def test_files_of_chainercv_come_back_to_the_release_s_order(tmp_path, slots):
    arrays = release_arrays(data=COCO, slots=slots)
    source, target = tmp_path / "model.npz", tmp_path / "x.safetensors"
    np.savez(source, **to_chainercv(arrays, slots=slots))
    conversion = convert_file(source, target)
    assert same(ours(arrays), read_arrays(target))
    model = read_info(target).model
    assert model == with_conventions(model, {**CHAINERCV, "box_slots": slots})
    left = [r for r in conversion.arrays if r.reason]
    assert len(left) == 53 and {r.reason for r in left} == {"counter of batches"}


def test_conventions_can_be_chosen(tmp_path):
    source, target = tmp_path / "model.npz", tmp_path / "x.safetensors"
    np.savez(source, **to_chainercv(release_arrays(data=SMALL)))
    convert_file(source, target, conventions="release")
    model = read_info(target).model
    assert model == with_conventions(model, RELEASE)


def test_a_record_says_what_became_of_an_array():
    arrays = to_chainercv(release_arrays(data=SMALL))
    converted = convert_arrays(arrays, "chainercv", FILE)
    records = {r.source: r for r in converted.arrays}
    found = records["rpn/score/W"]
    value = converted.module.state_dict()[found.target].numpy()
    assert (found.target, found.transform) == ("rpn.scores.weight", "background scores first")
    assert (found.dtype, found.shape, found.reason) == ("float32", (24, 7, 1, 1), "")
    assert found.digest == hashlib.sha256(value.tobytes()).hexdigest()[:16]
    found = records["extractor/conv1/bn/N"]
    assert (found.target, found.transform, found.digest) == ("", "", "")
    assert (found.dtype, found.shape, found.reason) == ("int64", (), "counter of batches")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_precisions_become_float32(dtype):
    arrays = {n: a.astype(dtype) for n, a in release_arrays(data=SMALL, folded=True).items()}
    state = convert_arrays(arrays, "release", FILE).module.state_dict()
    expected = {n: np.asarray(a, np.float32) for n, a in ours(arrays).items()}
    assert same(expected, state)


def test_arrays_in_any_memory_order():
    plain = release_arrays(data=SMALL)
    arrays = {n: np.asfortranarray(a) for n, a in plain.items()}
    for array in arrays.values():
        array.flags.writeable = False
    assert same(ours(plain), convert_arrays(arrays, "release", FILE).module.state_dict())


# what is refused


def test_each_array_that_is_missing_is_named():
    arrays = release_arrays(depths=(3, 4, 23, 3), data=SMALL, folded=True)
    moves = release_moves((3, 4, 23, 3), head=True)
    assert list(account(arrays, moves, RELEASE_SPARE, "x")) == [
        "arg:fcis_bbox_weight_test", "arg:fcis_bbox_bias_test"
    ]  # fmt: skip
    for name in arrays:
        rest = {n for n in arrays if n != name}
        if name.endswith("_test"):
            account(rest, moves, RELEASE_SPARE, "x")
            continue
        with pytest.raises(InputError, match=f"^x: {name} is missing; is the file complete"):
            account(rest, moves, RELEASE_SPARE, "x")


def test_several_missing_and_left_over():
    arrays = release_arrays(data=SMALL)
    gone = {n: a for n, a in arrays.items() if not n.startswith("aux:bn4")}
    with pytest.raises(
        InputError,
        match=r"aux:bn4a_branch2a_moving_mean and 37 more are missing; is the file compl",
    ):
        convert_arrays(gone, "release", FILE)
    more = arrays | {"arg:one_weight": arrays["arg:conv1_weight"], "aux:two": np.zeros(2)}
    with pytest.raises(InputError, match="arg:one_weight and 1 more: not part of this network"):
        convert_arrays(more, "release", FILE)


def changed(name, value):
    return lambda arrays: arrays | {name: value(arrays[name])}


def holding(value):
    def change(array):
        array = array.copy()
        array.flat[-1] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"arg:extra": np.zeros(1)}, r"^x\.params: arg:extra: not part of this netw"),
        (changed("aux:bn2a_branch1_moving_mean", lambda a: a[1:]), r"is \(7,\), expected \(8,\)"),
        (
            changed("arg:rpn_bbox_pred_weight", lambda a: a[:36]),
            r"arg:rpn_bbox_pred_weight is \(36, 7, 1, 1\), expected \(48, 7, 1, 1\)",
        ),
        (
            changed("arg:rpn_cls_score_weight", lambda a: np.concatenate([a, a[:1]])),
            r"arg:rpn_cls_score_weight is \(25, 7, 1, 1\), expected \(24, 7, 1, 1\)",
        ),
        (
            changed("arg:conv_new_1_bias", holding(np.nan)),
            "conv_new_1_bias has values that are not",
        ),
        (
            changed("arg:fcis_bbox_bias", holding(np.inf)),
            "fcis_bbox_bias has values that are not f",
        ),
        (
            changed("arg:bn_conv1_beta", lambda a: np.float64(a) * 1e39),
            "arg:bn_conv1_beta has values that are not finite in float32; fetch or train it anew",
        ),
        (changed("arg:conv1_weight", np.int32), "arg:conv1_weight holds int32, expected real numb"),
        (changed("arg:bn_conv1_gamma", np.complex64), "arg:bn_conv1_gamma holds complex64, expec"),
    ],
)
def test_arrays_that_do_not_fit(change, message):
    with pytest.raises(InputError, match=message):
        convert_arrays(change(release_arrays(data=SMALL)), "release", FILE)


def test_nothing_is_written_of_a_file_that_is_refused(tmp_path):
    arrays = release_arrays(data=SMALL)
    arrays["arg:conv1_weight"][0] = np.nan
    write_params(tmp_path / "x.params", arrays)
    with pytest.raises(
        InputError, match=r"x\.params: arg:conv1_weight has values that are not fin"
    ):
        convert_file(tmp_path / "x.params", tmp_path / "x.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["x.params"]


def test_images_of_others(tmp_path):
    (tmp_path / "x.params").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match="no known kind of weights"):
        convert_file(tmp_path / "x.params", tmp_path / "x.safetensors")


# box stds


def test_folded_stds():
    arrays = release_arrays(data=SMALL, folded=True)
    check_box_stds(arrays, BOX_STDS, "x")
    half = {n: a.astype(np.float16) for n, a in arrays.items()}
    check_box_stds(half, BOX_STDS, "x")
    # the unused slot may hold anything
    half["arg:fcis_bbox_weight_test"][:36] = 7
    check_box_stds(half, BOX_STDS, "x")


def test_biases_that_are_all_zero_tell_nothing():
    arrays = release_arrays(data=SMALL, folded=True)
    for name in ("arg:fcis_bbox_bias", "arg:fcis_bbox_bias_test"):
        arrays[name] = np.zeros_like(arrays[name])
    check_box_stds(arrays, BOX_STDS, "x")


@pytest.mark.parametrize("array", ["weight", "bias"])
def test_plain_arrays_that_are_folded_themselves(array):
    arrays = release_arrays(data=SMALL, folded=True)
    arrays[f"arg:fcis_bbox_{array}"] = arrays[f"arg:fcis_bbox_{array}_test"]
    message = (
        f"x.params: arg:fcis_bbox_{array}_test is 1, 1, 1, 1 times arg:fcis_bbox_{array}, "
        "expected 0.2, 0.2, 0.5, 0.5: the box stds seem to be folded into the plain arrays"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        convert_arrays(arrays, "release", FILE)


def test_stds_of_another_order_or_shape():
    arrays = release_arrays(data=SMALL, folded=True)
    folded = arrays["arg:fcis_bbox_weight_test"]
    swapped = folded.reshape(2, 4, 9, -1)[:, [2, 3, 0, 1]].reshape(folded.shape)
    with pytest.raises(
        InputError, match=r"_weight_test is .* times arg:fcis_bbox_weight, expected"
    ):
        check_box_stds(arrays | {"arg:fcis_bbox_weight_test": swapped}, BOX_STDS, "x")
    with pytest.raises(
        InputError, match=r"is \(72,\), and with the stds folded in \(71,\); is the"
    ):
        check_box_stds(arrays | {"arg:fcis_bbox_bias_test": np.zeros(71)}, BOX_STDS, "x")


def test_without_the_plain_arrays():
    arrays = release_arrays(data=SMALL, folded=True)
    del arrays["arg:fcis_bbox_weight"]
    with pytest.raises(InputError, match="into which the box stds are folded, but not the plain"):
        convert_arrays(arrays, "release", FILE)


# backbones


def test_imagenet_weights_of_the_release(tmp_path):
    arrays = filled(backbone_shapes() | {"arg:fc1000_weight": (9, 20), "arg:fc1000_bias": (9,)})
    source, target = tmp_path / "resnet_v1_50-0000.params", tmp_path / "x.safetensors"
    write_params(source, arrays)
    conversion = convert_file(source, target)
    names = official_names((3, 4, 6, 3))
    assert same({f"backbone.{o}": arrays[t] for o, t in names.items()}, read_arrays(target))
    assert {r.source: r.reason for r in conversion.arrays if r.reason} == {
        "arg:fc1000_weight": "ImageNet classifier", "arg:fc1000_bias": "ImageNet classifier",
    }  # fmt: skip
    info = read_info(target)
    assert info.is_backbone and info.model.backbone.variant == "v1"


def test_a_bias_of_the_first_convolution_goes_into_the_norm():
    arrays = filled(backbone_shapes() | {"arg:conv1_bias": (6,)})
    converted = convert_arrays(arrays, "release", FILE)
    found = converted.module.state_dict()["backbone.bn1.running_mean"].numpy()
    expected = arrays["aux:bn_conv1_moving_mean"] - arrays["arg:conv1_bias"]
    assert np.array_equal(found, expected)
    (record,) = (r for r in converted.arrays if r.source == "arg:conv1_bias")
    assert (record.target, record.transform) == ("backbone.bn1.running_mean", "mean less bias")


@pytest.mark.parametrize(
    ("suffix", "save"), [(".pth", torch.save), (".safetensors", save_file), (".bin", save_file)]
)
def test_state_dicts(tmp_path, suffix, save):
    arrays = resnet_state()
    tensors = {n: torch.from_numpy(a) for n, a in arrays.items()}
    source, target = tmp_path / f"resnet50{suffix}", tmp_path / "x.safetensors"
    save(tensors, source)
    convert_file(source, target)
    used = {n: a for n, a in arrays.items() if a.ndim and not n.startswith("fc.")}
    assert len(used) == 53 * 5
    assert same({f"backbone.{n}": a for n, a in used.items()}, read_arrays(target))
    assert read_info(target).model.backbone.variant == "modern"


def test_counters_and_classifiers_are_left_out():
    converted = convert_arrays(resnet_state(), "torch", Path("resnet50.pth"))
    left = {r.source: r.reason for r in converted.arrays if r.reason}
    assert len(left) == 53 + 2
    assert left["fc.weight"] == "ImageNet classifier"
    assert left["layer3.5.bn2.num_batches_tracked"] == "counter of batches"


def test_state_dicts_of_basic_blocks():
    model = build_basic()
    arrays = {n: t.numpy() for n, t in model.items()}
    converted = convert_arrays(arrays, "torch", Path("resnet18.pth"))
    assert same({f"backbone.{n}": a for n, a in arrays.items()}, converted.module.state_dict())
    assert converted.description.info.model.backbone.block == "basic"


def build_basic():
    from timm.models.resnet import BasicBlock, ResNet

    model = ResNet(BasicBlock, layers=(2, 2, 2, 2), channels=(4, 6, 8, 10), num_classes=0)
    state = model.state_dict()
    return {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}


def test_other_resnets_are_refused():
    grouped = resnet_state()
    grouped["layer1.0.conv2.weight"] = grouped["layer1.0.conv2.weight"][:, :1]
    with pytest.raises(InputError, match=r"layer1\.0\.conv2\.weight is \(2, 1, 3, 3\), expected"):
        convert_arrays(grouped, "torch", Path("resnext50.pth"))
    deep = {n.replace("conv1.", "conv1.0.", 1): a for n, a in resnet_state().items()}
    with pytest.raises(InputError, match=r"resnet50d\.pth: .*conv1\.weight is missing"):
        convert_arrays(deep, "torch", Path("resnet50d.pth"))
