"""`fcis predict`: with `--save maps`, the score maps behind instances."""

from dataclasses import replace

import pytest
from PIL import Image
from tests.cli.outputs import written

from fcis.model.build import build_model
from fcis.weights.weights_file import (
    WeightsInfo,
    read_info,
    save_weights,
)


class TestScoreMaps:
    def test_a_picture_beside_the_overlay(self, predict, save, tmp_path):
        save(tmp_path / "in" / "a" / "1.png")
        save(tmp_path / "in" / "b.png", 40, 30, seed=1)
        code, _, err, results = predict(tmp_path / "in", "--save", "overlay,coco,maps")
        assert (code, err) == (0, "")
        assert written(tmp_path / "out") == [
            "a/1.maps.png",
            "a/1.overlay.png",
            "b.maps.png",
            "b.overlay.png",
            "predictions.json",
        ]
        drawn = Image.open(tmp_path / "out" / "a" / "1.maps.png")
        boxes = [r["bbox"] for r in results if r["image_id"] == "a/1"][:3]
        panels = [round(256 * min(1, height / width)) for _, _, width, height in boxes]
        # titles and maps of each instance, then two rows of panels of the RoI's form
        assert drawn.size == (1376, sum(584 + 2 * (64 + panel) for panel in panels))

    def test_pictures_of_an_earlier_run_are_no_input(self, predict, save, tmp_path):
        save(tmp_path / "out" / "x.png")
        predict(tmp_path / "out", "--save", "maps")
        code, out, _, _ = predict(tmp_path / "out", "--save", "maps")
        assert code == 0 and " in 1 image:" in out
        assert written(tmp_path / "out") == ["x.maps.png", "x.png"]

    def test_nothing_found_is_noted_and_leaves_no_picture(self, predict, save, tmp_path):
        path = save(tmp_path / "x.png")
        code, _, err, _ = predict(path, "--save", "maps", everything=False)
        assert code == 0 and written(tmp_path / "out") == []
        assert err.startswith(f"{path}: nothing reaches the threshold; the top score is ")

    @pytest.mark.parametrize(
        "options",
        [("--tile", 64), ("--flip",), ("--scales", "1x,2x"), ("--weights", "other.safetensors")],
        ids=lambda o: o[0],
    )
    def test_one_network_and_whole_images(self, refused, tiny_weights, save, tmp_path, options):
        path = save(tmp_path / "x.png")
        line = refused("predict", path, "--weights", tiny_weights, "--save", "maps", *options)
        assert line == (
            "fcis: --save maps: shows the maps of one network for a whole image; leave out "
            "--tile, --scales, --flip and all --weights but one\n"
        )

    def test_videos_have_none(self, refused, tiny_weights, tmp_path):
        line = refused("predict", "film.mp4", "--weights", tiny_weights, "--save", "maps")
        assert line == "fcis: --save maps: is for images, and film.mp4 is a video\n"

    def test_other_systems_have_none(self, refused, tiny_weights, save, tmp_path):
        recipe = replace(read_info(tiny_weights).model, system="fcis-separate")
        weights = tmp_path / "separate.safetensors"
        save_weights(weights, build_model(recipe), WeightsInfo(model=recipe))
        path = save(tmp_path / "x.png")
        out = tmp_path / "out"
        line = refused("predict", path, "--weights", weights, "--save", "maps", "--out", out)
        assert line == (
            "fcis: score maps: a network of the system fcis-separate has no inside and outside "
            "maps; take weights of fcis\n"
        )
        assert not out.exists()
