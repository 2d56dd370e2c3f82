"""Names of the network's arrays in other files."""

import re

import numpy as np
import pytest

from fcis.weights.foreign.mapping import (
    CHAINERCV_SPARE,
    RELEASE_SPARE,
    TORCH_SPARE,
    chainercv_moves,
    chainercv_names,
    official_names,
    release_moves,
    torch_moves,
)

from .networks import COCO, SLIM, release_arrays, resnet_state, to_chainercv

DEPTHS_101 = (3, 4, 23, 3)


def test_official_names_of_resnet101():
    names = official_names(DEPTHS_101)
    assert len(names) == 520
    assert len(set(names.values())) == 520
    # the counts of the reference's table 8.1, heads aside: 1 + 4 + 99 convolutions, 2 x 208
    assert sum(name.startswith("aux:") for name in names.values()) == 208
    assert sum(name.endswith("_weight") for name in names.values()) == 104
    assert sum("_branch1_weight" in name for name in names.values()) == 4


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("conv1.weight", "arg:conv1_weight"),
        ("bn1.running_var", "aux:bn_conv1_moving_var"),
        ("layer1.0.downsample.0.weight", "arg:res2a_branch1_weight"),
        ("layer1.2.conv2.weight", "arg:res2c_branch2b_weight"),
        ("layer2.0.downsample.1.bias", "arg:bn3a_branch1_beta"),
        ("layer2.3.conv1.weight", "arg:res3b3_branch2a_weight"),
        ("layer3.22.bn3.weight", "arg:bn4b22_branch2c_gamma"),
        ("layer4.1.bn2.running_mean", "aux:bn5b_branch2b_moving_mean"),
    ],
)
def test_official_names_by_hand(ours, theirs):
    assert official_names(DEPTHS_101)[ours] == theirs


def test_depths_50_and_152():
    letters = official_names((3, 4, 6, 3))
    assert letters["layer2.3.conv1.weight"] == "arg:res3d_branch2a_weight"
    assert letters["layer3.5.conv1.weight"] == "arg:res4f_branch2a_weight"
    assert len(letters) == 53 * 5
    numbers = official_names((3, 8, 36, 3))
    assert numbers["layer2.7.conv1.weight"] == "arg:res3b7_branch2a_weight"
    assert numbers["layer3.35.bn1.bias"] == "arg:bn4b35_branch2a_beta"
    assert numbers["layer4.2.conv3.weight"] == "arg:res5c_branch2c_weight"


def test_unknown_depths():
    with pytest.raises(ValueError, match=r"depths: expected one of .*got \(1, 1, 1, 1\)"):
        official_names((1, 1, 1, 1))


def test_chainercv_names_are_the_keys_of_a_file(shared):
    with np.load(shared / "golden" / "calibration.npz") as file:
        norms = {key for key in file.files if key.endswith(("avg_mean", "avg_var"))}
    names = chainercv_names(DEPTHS_101)
    assert {name for name in names.values() if name.endswith(("avg_mean", "avg_var"))} == norms
    assert names.keys() == official_names(DEPTHS_101).keys()
    assert names["layer3.0.downsample.0.weight"] == ("extractor/res4/a/residual_conv/conv/W")
    assert names["layer3.7.bn2.bias"] == "extractor/res4/b7/conv2/bn/beta"


# moves


def taken(moves):
    return {m.target: (m.sources, m.transform.__name__) for m in moves}


@pytest.mark.parametrize("depths", [(3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)])
def test_a_file_s_names_are_taken_once_each(depths):
    arrays = release_arrays(depths=depths, size=SLIM, data=COCO)
    for file, moves, spare in (
        (arrays, release_moves(depths, head=True), RELEASE_SPARE),
        (to_chainercv(arrays, depths), chainercv_moves(depths), CHAINERCV_SPARE),
    ):
        names = [name for move in moves for name in move.sources]
        left = {n for n in file if not any(re.fullmatch(p, n) for p in spare)}
        assert len(names) == len(set(names)) and set(names) == left
        assert len({m.target for m in moves}) == len(moves) == len(arrays)


def test_transforms_are_those_of_the_reference_s_table():
    # reference 8.4
    moves = taken(chainercv_moves(DEPTHS_101))
    assert len(moves) == 532
    changed = {t: (s, how) for t, (s, how) in moves.items() if how != "as_is"}
    assert changed == {
        "rpn.scores.weight": (("rpn/score/W",), "background_scores_first"),
        "rpn.scores.bias": (("rpn/score/b",), "background_scores_first"),
        "rpn.deltas.weight": (("rpn/loc/W",), "x_first_in_anchors"),
        "rpn.deltas.bias": (("rpn/loc/b",), "x_first_in_anchors"),
        "head.boxes.weight": (("head/ag_loc/W",), "x_first_in_box_maps"),
        "head.boxes.bias": (("head/ag_loc/b",), "x_first_in_box_maps"),
    }
    assert moves["head.classes.weight"] == (("head/cls_seg/W",), "as_is")
    assert {how for _, how in taken(release_moves(DEPTHS_101, head=True)).values()} == {"as_is"}


def test_backbones_alone():
    moves = taken(release_moves((3, 4, 6, 3), head=False, stem_bias=True))
    assert len(moves) == 53 * 5
    assert moves["backbone.bn1.running_mean"] == (
        ("aux:bn_conv1_moving_mean", "arg:conv1_bias"), "mean_less_bias",
    )  # fmt: skip
    plain = taken(release_moves((3, 4, 6, 3), head=False))
    assert plain["backbone.bn1.running_mean"] == (("aux:bn_conv1_moving_mean",), "as_is")
    (move,) = torch_moves(["backbone.layer1.0.bn1.bias"])
    assert move.sources == ("layer1.0.bn1.bias",)


@pytest.mark.parametrize(
    ("spare", "name", "reason"),
    [
        (RELEASE_SPARE, "arg:fcis_bbox_weight_test", "the box stds are folded in"),
        (RELEASE_SPARE, "arg:fcis_bbox_bias_test", "the box stds are folded in"),
        (RELEASE_SPARE, "arg:fc1000_weight", "ImageNet classifier"),
        (RELEASE_SPARE, "arg:gt_boxes", "input of the network"),
        (RELEASE_SPARE, "arg:softmax_label", "input of the network"),
        (RELEASE_SPARE, "arg:fcis_bbox_weight", ""),
        (RELEASE_SPARE, "arg:fcis_cls_seg_weight_test", ""),
        (RELEASE_SPARE, "arg:fcis_bbox_weight_test2", ""),
        (CHAINERCV_SPARE, "extractor/res4/b7/conv2/bn/N", "counter of batches"),
        (CHAINERCV_SPARE, "head/conv1/N", ""),
        (TORCH_SPARE, "layer1.0.bn1.num_batches_tracked", "counter of batches"),
        (TORCH_SPARE, "fc.bias", "ImageNet classifier"),
        (TORCH_SPARE, "fc2.bias", ""),
    ],
)
def test_what_may_be_left_out(spare, name, reason):
    found = [r for pattern, r in spare.items() if re.fullmatch(pattern, name)]
    assert found[0].startswith(reason) if reason else not found


def test_nothing_of_a_state_dict_is_unknown():
    state = resnet_state()
    used = {n for n in state if not any(re.fullmatch(p, n) for p in TORCH_SPARE)}
    assert len(used) == 53 * 5
