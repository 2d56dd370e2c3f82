"""Names of the backbone's arrays in other files."""

import numpy as np
import pytest

from fcis.weights.mapping import chainercv_names, official_names

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
