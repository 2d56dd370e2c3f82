import argparse

import pytest

from fcis.cli.common import averaging_of, open_predictor
from fcis.core.errors import InputError
from fcis.inference.test_time.scales import Scale


def test_averaging_of():
    def read(**given):
        usual = {"scales": None, "flip": False, "roi_side": 224.0}
        return averaging_of(argparse.Namespace(**usual | given))

    assert read().scales == () and not read().flip and read().roi_side == 224
    found = read(scales="480, 2x", flip=True, roi_side=45.0)
    assert found.scales == (Scale(side=480), Scale(factor=2.0))
    assert found.flip and found.roi_side == 45
    for scales in ("", "480,", "480;576"):
        with pytest.raises(InputError, match=r"^scales .*: expected up to 16 shorter sides"):
            read(scales=scales)


def test_a_size_is_for_all_networks(tiny_weights):
    predictor = open_predictor([str(tiny_weights)] * 2, "32:64", "cpu")
    sides = [network.recipe.preprocessing.short_side for network in predictor.ensemble.networks]
    assert sides == [32, 32]


def test_weights_that_nobody_named_are_said(add_to_zoo, capsys):
    add_to_zoo("cells", "fluorescence")
    predictor = open_predictor(None, None, "cpu")
    assert predictor.info.about == "fluorescence"
    assert capsys.readouterr() == ("", "weights: cells (fluorescence); --weights names others\n")
