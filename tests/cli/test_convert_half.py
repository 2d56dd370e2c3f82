"""`fcis convert --half`: from a run or a file to one of half precision that says what it is."""

import shutil
from dataclasses import replace

import pytest

from fcis.recipe.named import named_recipe
from fcis.weights.weights_file import WeightsInfo, read_info, rewrite_info, save_weights


def test_what_is_said(fcis, tiny_weights, tmp_path):
    target = tmp_path / "out" / "cells.safetensors"
    code, out, err = fcis(
        "convert", tiny_weights, target, "--half", "--about", "drawn shapes", "--licence", "CC0",
        "--trained-on", "435 images", "--metric", "AP=0.654+-0.004", "--metric", "AP50=0.9",
    )  # fmt: skip
    assert (code, err) == (0, "")
    size, before = target.stat().st_size, tiny_weights.stat().st_size
    assert out.splitlines() == [
        str(tiny_weights),
        "  arrays       18 in half precision",
        f"  size         {size / 1024:.0f} KiB, {size / before:.0%} of what it was",
        "  about        drawn shapes",
        "  licence      CC0",
        "  trained on   435 images",
        f"weights: {target}",
        f"try it:  fcis predict IMAGES --weights {target}",
    ]
    info = read_info(target)
    assert info == replace(
        read_info(tiny_weights),
        about="drawn shapes",
        licence="CC0",
        training_data="435 images",
        metrics=(("AP", 0.654), ("AP50", 0.9)),
        spread=(("AP", 0.004),),
    )


def test_a_run_folder_and_what_it_does_not_say(fcis, tiny_weights, tmp_path):
    source, target = tmp_path / "run", tmp_path / "x.safetensors"
    source.mkdir()
    silent = replace(read_info(tiny_weights), licence="", training_data="")
    rewrite_info(tiny_weights, source / "best.safetensors", silent)
    code, out, _ = fcis("convert", source, target, "--half")
    assert code == 0 and read_info(target) == silent
    for row in (
        "  about        not stated; --about says it\n",
        "  licence      not stated; --licence says it\n",
        "  trained on   not stated; --trained-on says it\n",
    ):
        assert row in out


def test_the_result_predicts(fcis, save, tiny_weights, tmp_path):
    target = tmp_path / "x.safetensors"
    assert fcis("convert", tiny_weights, target, "--half")[0] == 0
    arguments = ("--weights", target, "--out", tmp_path / "found", "--device", "cpu")
    assert fcis("predict", save(tmp_path / "a.png"), *arguments)[0] == 0


def test_a_backbone_alone(fcis, tmp_path):
    from fcis.model.backbones import build_backbone

    recipe = named_recipe("tiny").model
    source, target = tmp_path / "b.safetensors", tmp_path / "x.safetensors"
    save_weights(source, build_backbone(recipe.backbone), WeightsInfo(model=recipe))
    code, out, _ = fcis("convert", source, target, "--half")
    assert code == 0
    last = f"use it:  fcis train --weights {target} ..., with a recipe of this backbone\n"
    assert out.endswith(last)


# what is refused


def test_paths(refused, tiny_weights, tmp_path):
    target = tmp_path / "x.safetensors"
    own = tmp_path / "own.safetensors"
    shutil.copy(tiny_weights, own)

    def half(*arguments):
        return refused("convert", *arguments, "--half")

    assert "gone: no such file or folder; give a weights file or a run" in half("gone", target)
    assert f"{tmp_path}: this folder has no best.safetensors" in half(tmp_path, target)
    (tmp_path / "e2e.params").write_bytes(b"")
    error = half(tmp_path / "e2e.params", target)
    assert "e2e.params: is no weights file of fcis; convert it without --half first" in error
    assert "x.pth: expected a name that ends in .safetensors" in half(own, tmp_path / "x.pth")
    before = own.read_bytes()
    assert "own.safetensors: source and target must be different files" in half(own, own)
    assert own.read_bytes() == before
    assert "TARGET" in half(own, own / "x.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"hello")
    assert "not a safetensors file or damaged" in half(tmp_path / "other.safetensors", target)
    assert "--metric AP: expected NAME=VALUE" in half(own, target, "--metric", "AP")
    assert not target.exists()


@pytest.mark.parametrize("option", ["--conventions", "--report"])
def test_options_of_other_conversions(refused, tiny_weights, tmp_path, option):
    error = refused("convert", tiny_weights, tmp_path / "x.safetensors", "--half", option, "paper")
    assert error == f"fcis: {option}: is for weights of other programs; leave it out\n"


@pytest.mark.parametrize("option", ["--about", "--licence", "--trained-on", "--metric"])
def test_options_of_half_precision(refused, tiny_weights, tmp_path, option):
    error = refused("convert", tiny_weights, tmp_path / "x.safetensors", option, "AP=1")
    assert error == f"fcis: {option}: is for weights of fcis; add --half or leave it out\n"
