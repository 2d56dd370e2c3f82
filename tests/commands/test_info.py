import shutil

import pytest

from fcis.recipes import RECIPES
from fcis.weights import catalog
from fcis.weights.cache import source_of
from fcis.weights.published import PUBLISHED


def test_installation(fcis):
    code, out, _ = fcis("info")
    assert code == 0
    assert out.startswith("fcis ")
    assert "torch " in out and "cpu: " in out
    for name, make in RECIPES.items():
        assert f"  {name} " in out and make().description in out


def test_weights_of_the_package_are_listed(fcis, tiny_weights, monkeypatch):
    monkeypatch.setattr("fcis.commands.info.zoo", lambda: {"small": tiny_weights})
    assert "  small                  AP 0.125\n" in fcis("info")[1]
    monkeypatch.setattr("fcis.commands.info.zoo", dict)
    assert "  none; train your own with `fcis train`\n" in fcis("info")[1]


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
    assert "calibration" not in out


def test_bad_weights(refused, tmp_path):
    assert "no such weights" in refused("info", tmp_path / "x")
    assert "has no best.safetensors" in refused("info", tmp_path)
