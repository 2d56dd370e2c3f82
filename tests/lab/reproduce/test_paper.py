"""The paper's figures, some of them checked against each other."""

import itertools

import pytest

from fcis.lab.reproduce.paper import PAPER, TEST_SECONDS, TRAIN_SECONDS


def test_differences_that_the_text_names():
    table2 = PAPER["table2"]
    assert table2["fcis"]["AP"] - table2["mnc"]["AP"] == pytest.approx(4.2)
    table4 = PAPER["table4"]
    rows = ("baseline", "multi-scale-testing", "horizontal-flip", "multi-scale-training")
    gains = [table4[b]["AP"] - table4[a]["AP"] for a, b in itertools.pairwise(rows)]
    assert gains == pytest.approx([2.8, 0.7, 0.9])
    assert table4["ensemble"]["AP"] == 37.6


def test_ratios_that_the_text_names():
    table2 = PAPER["table2"]
    assert table2["mnc"][TEST_SECONDS] / table2["fcis"][TEST_SECONDS] == pytest.approx(6, abs=0.5)
    assert table2["mnc"][TRAIN_SECONDS] / table2["fcis"][TRAIN_SECONDS] == pytest.approx(4, abs=0.2)


def test_rows_that_stand_in_two_tables_agree():
    ohem, deep = PAPER["table2"]["fcis-ohem"], PAPER["table3"]["resnet101"]
    assert ohem["AP"] == deep["AP"] == PAPER["table4"]["baseline"]["AP"]
    assert ohem["AP50"] == deep["AP50"] == PAPER["table4"]["baseline"]["AP50"]
    assert ohem[TEST_SECONDS] == deep[TEST_SECONDS]


def test_the_larger_threshold_is_harder():
    for row in PAPER["table1"].values():
        assert 0 < row["mAP_r@0.7"] < row["mAP_r@0.5"] < 100
