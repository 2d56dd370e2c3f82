import shutil
from dataclasses import replace

import pytest

from fcis.recipe.named import RECIPES
from fcis.weights import catalog
from fcis.weights.cache import source_of
from fcis.weights.published import PUBLISHED
from fcis.weights.weights_file import read_info, rewrite_info


def test_installation(fcis):
    code, out, _ = fcis("info")
    assert code == 0
    assert out.startswith("fcis ")
    assert "torch " in out and "cpu: " in out
    for name, make in RECIPES.items():
        assert f"  {name} " in out and make().description in out


def test_weights_of_the_package_are_listed(fcis, zoo_folder, add_to_zoo):
    assert "  none; train your own with `fcis train`\n" in fcis("info")[1]
    path = add_to_zoo("small", "drawn shapes")
    out = fcis("info")[1]
    size = f"{path.stat().st_size / 1024:.0f} KiB"
    assert f"  small                  drawn shapes; {size}; MIT\n{' ' * 25}AP 0.125\n" in out
    assert "none; train" not in out


def test_figures_have_their_spread(fcis, zoo_folder, tiny_weights):
    info = read_info(tiny_weights)
    info = replace(info, metrics=(("AP", 0.5), ("AP50", 0.75)), spread=(("AP", 0.0625),))
    rewrite_info(tiny_weights, zoo_folder / "small.safetensors", info)
    assert " AP 0.500 +- 0.062, AP50 0.750\n" in fcis("info")[1]
    assert "  metrics      AP 0.500 +- 0.062, AP50 0.750\n" in fcis("info", "small")[1]


def test_a_name_of_the_zoo_is_described(fcis, add_to_zoo):
    path = add_to_zoo("small", "drawn shapes")
    code, out, _ = fcis("info", "small")
    assert code == 0 and out.startswith(f"{path}\n  size         ")
    assert f"  card         {path.with_suffix('.md')}\n  about        drawn shapes\n" in out


def test_proposals_in_proportion_are_told(fcis, zoo_folder, tiny_weights):
    info = read_info(tiny_weights)
    most = info.model.rpn.post_nms
    assert f", {most} proposals\n" in fcis("info", tiny_weights)[1]
    model = replace(info.model, rpn=replace(info.model.rpn, nms_area=25600.0))
    rewrite_info(tiny_weights, zoo_folder / "small.safetensors", replace(info, model=model))
    assert f", {most} proposals for 25,600 px\n" in fcis("info", "small")[1]


def test_published_weights_are_listed(fcis, tmp_path, monkeypatch):
    monkeypatch.setenv("FCIS_CACHE", str(tmp_path))
    assert f"published weights (--weights NAME), kept in {tmp_path}\n" in fcis("info")[1]
    out = fcis("info")[1]
    for entry in PUBLISHED.values():
        assert f"  {entry.name:22} {entry.about}; not fetched\n" in out
        assert f"{entry.accuracy}; {entry.conventions} conventions\n" in out
    source_of(PUBLISHED["voc"]).write_bytes(b"")
    out = fcis("info")[1]
    assert f"{PUBLISHED['voc'].about}; fetched\n" in out and out.count("; not fetched\n") == 3


def test_a_published_name_is_described(fcis, tiny_weights, monkeypatch):
    monkeypatch.setattr(catalog, "obtain", lambda entry, convert: tiny_weights)
    code, out, _ = fcis("info", "voc-chainercv")
    assert code == 0 and out.startswith(f"{tiny_weights}\n")


@pytest.mark.parametrize("as_run", [False, True])
def test_weights(fcis, tiny_weights, tmp_path, as_run):
    path = tiny_weights
    if as_run:
        shutil.copy(tiny_weights, tmp_path / "best.safetensors")
        path = tmp_path
    code, out, _ = fcis("info", path)
    assert code == 0
    for text in (
        f"{path}",
        "recipe       tiny",
        "trained on   nothing",
        "metrics      AP 0.125",
        "licence      MIT",
        "classes      8",
        "1 disc (operating threshold 0.900)",
        "8 hourglass (operating threshold 0.900)",
    ):
        assert text in out
    assert "calibration" not in out and "card" not in out and "about" not in out


def test_bad_weights(refused, tmp_path):
    assert "no such weights" in refused("info", tmp_path / "x")
    assert "has no best.safetensors" in refused("info", tmp_path)
