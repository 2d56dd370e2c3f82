"""Published weights from a server on this machine to a converted file, once."""

import shutil
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from fcis.core.errors import InputError
from fcis.recipe.conventions import with_conventions
from fcis.weights import cache
from fcis.weights.cache import cache_folder, converted_of, obtain, source_of, state_of
from fcis.weights.published import PUBLISHED
from fcis.weights.weights_file import read_info, save_weights

COCO = PUBLISHED["coco"]


def archive(**more):
    """An .npz file with the arrays by which ChainerCV's FCIS is known."""
    arrays = {f"{link}/W": np.ones(3) for link in ("extractor/conv1/conv", "rpn/conv1")}
    file = BytesIO()
    np.savez(file, **arrays, **{"head/cls_seg/W": np.arange(50.0)}, **more)
    return file.getvalue()


@pytest.fixture
def folder(monkeypatch, tmp_path, server):
    """Point the cache and the address of published weights at places of the test."""
    server.content = archive()
    monkeypatch.setenv("FCIS_CACHE", str(tmp_path / "a" / "cache"))
    monkeypatch.setenv("FCIS_WEIGHTS_URL", f"{server.address}/mirror/")
    return tmp_path / "a" / "cache"


@pytest.fixture
def convert(converted):
    """A converter that takes any file and remembers what it was asked to do."""

    def copy(source, target, conventions):
        copy.calls.append((source.read_bytes(), target.name, conventions))
        shutil.copy(converted(conventions), target)

    copy.calls = []
    return copy


def put(content, entry=COCO):
    source_of(entry).parent.mkdir(parents=True, exist_ok=True)
    source_of(entry).write_bytes(content)


# --- where ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/fcis"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/fcis"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/fcis"),
        ("linux", {"XDG_CACHE_HOME": ""}, "home/.cache/fcis"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "home/Library/Caches/fcis"),
        ("win32", {}, "home/AppData/Local/fcis/Cache"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/fcis/Cache"),
        ("linux", {"FCIS_CACHE": "/own", "XDG_CACHE_HOME": "/x"}, "/own"),
        ("win32", {"FCIS_CACHE": "~/own"}, "home/own"),
        ("linux", {"FCIS_CACHE": "own"}, "here/own"),
        ("linux", {"FCIS_CACHE": ""}, "home/.cache/fcis"),
    ],
)
def test_cache_folder(monkeypatch, tmp_path, platform, variables, expected):
    for name in ("FCIS_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == tmp_path / expected


def test_nobody_is_at_home(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("FCIS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(InputError, match=r"^FCIS_CACHE is needed: there is no home folder"):
        cache_folder()


# --- once -----------------------------------------------------------------------------------


def test_fetched_and_converted_once(folder, server, convert, converted):
    assert state_of(COCO) == "not fetched"
    found = obtain(COCO, convert)
    assert found == folder / "fcis_resnet101_coco_converted_2019_01_30.safetensors"
    assert found.read_bytes() == converted("release").read_bytes()
    assert source_of(COCO).read_bytes() == server.content
    assert [asked[0] for asked in server.asked] == [f"/mirror/{COCO.file}"]
    ((content, _, conventions),) = convert.calls
    assert content == server.content and conventions == "release"
    assert state_of(COCO) == "ready"
    server.status = 404
    source_of(COCO).unlink()
    assert obtain(COCO, convert) == found
    assert len(server.asked) == 1 and len(convert.calls) == 1


def test_each_has_its_own_file_and_conventions(folder, convert):
    found = {name: obtain(entry, convert) for name, entry in PUBLISHED.items()}
    assert len(set(found.values())) == 4
    assert [call[2] for call in convert.calls] == ["release", "release", "chainercv", "chainercv"]
    assert {path.parent for path in found.values()} == {folder}


def test_a_file_put_there_by_hand(folder, server, convert):
    put(archive())
    assert state_of(COCO) == "fetched"
    obtain(COCO, convert)
    assert server.asked == [] and len(convert.calls) == 1
    assert source_of(COCO).is_file()


@pytest.mark.parametrize("name", ["coco", "coco-chainercv"])
def test_conversions_of_another_version_are_made_anew(folder, server, convert, converted, name):
    entry = PUBLISHED[name]
    put(archive(), entry)
    other = {"release": "chainercv", "chainercv": "release"}[entry.conventions]
    for content in (b"of another version", converted(other).read_bytes()):
        converted_of(entry).write_bytes(content)
        assert state_of(entry) == "fetched"
        found = obtain(entry, convert)
        assert found.read_bytes() == converted(entry.conventions).read_bytes()
        assert state_of(entry) == "ready"
    assert server.asked == [] and len(convert.calls) == 2


def test_what_the_file_decides_is_not_held_against_it(folder, converted):
    info = read_info(converted("release"))
    folder.mkdir(parents=True)
    for changed, state in (
        ({"box_slots": 1}, "ready"),
        ({"box_slots": 1, "pad_proposals": False}, "not fetched"),
    ):
        model = with_conventions(info.model, changed)
        save_weights(converted_of(COCO), nn.Identity(), replace(info, model=model))
        assert state_of(COCO) == state


def test_a_fetch_that_was_cut_goes_on(folder, server, convert):
    server.cuts = [100] * 4
    with pytest.raises(InputError, match=r"cut after 400 of [\d,]+ bytes .*; another try goes on"):
        obtain(COCO, convert)
    server.asked.clear()
    obtain(COCO, convert)
    assert [asked[1] for asked in server.asked] == ["bytes=400-"]
    assert convert.calls[0][0] == server.content


# --- without a connection -------------------------------------------------------------------


def test_offline(folder, server, convert):
    server.status = 404
    with pytest.raises(InputError) as error:
        obtain(COCO, convert)
    assert str(error.value) == (
        f"coco: cannot fetch {server.address}/mirror/{COCO.file} (HTTP Error 404: Not Found); get "
        f"this file by other means and put it at {folder / COCO.file}, where it is found and "
        "converted without a connection; or convert the release's own file, `fcis convert "
        "fcis_coco-0000.params coco.safetensors`, and give that"
    )
    with pytest.raises(InputError, match=r"^voc: cannot .* converted without a connection$"):
        obtain(PUBLISHED["voc"], convert)
    assert not convert.calls


def test_the_address_must_be_one(folder, convert, monkeypatch):
    monkeypatch.setenv("FCIS_WEIGHTS_URL", "/mnt/weights")
    with pytest.raises(InputError, match=r"^FCIS_WEIGHTS_URL=/mnt/weights: expected the http or"):
        obtain(COCO, convert)
    put(archive())
    obtain(COCO, convert)


# --- what is not the file -------------------------------------------------------------------


def flipped(content):
    """The same with one byte of an array changed."""
    where = content.index(np.arange(50.0).tobytes())
    return content[: where + 8] + b"\xff" + content[where + 9 :]


def without(content, name):
    file = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
    return file.getvalue()


DAMAGED = {
    r"is no \.npz file or damaged \(File is not a zip file\)": b"<html>Please log in</html>",
    r"is damaged at head/cls_seg/W\.npy": flipped(archive()),
    r"is no \.npz file or damaged": archive()[:-30],
    r"is no file of ChainerCV's FCIS": without(archive(), "head/cls_seg/W.npy"),
}


@pytest.mark.parametrize("message", DAMAGED)
def test_what_comes_is_not_the_file(folder, server, convert, message):
    server.content = DAMAGED[message]
    with pytest.raises(InputError, match=rf"^coco: cannot fetch .* \(what came {message}"):
        obtain(COCO, convert)
    assert [path.suffix for path in folder.iterdir() if path.is_file()] in ([], [".lock"])
    server.content = archive()
    obtain(COCO, convert)


@pytest.mark.parametrize("message", DAMAGED)
def test_what_was_put_there_is_not_the_file(folder, server, convert, message):
    put(DAMAGED[message])
    with pytest.raises(InputError, match=rf"^coco: .*npz {message}.*; put the file of http://"):
        obtain(COCO, convert)
    assert source_of(COCO).read_bytes() == DAMAGED[message], "it is the user's"
    assert server.asked == [] and not convert.calls


def test_declared_as_shorter_than_it_is(folder, server, convert):
    server.declared = 200
    with pytest.raises(InputError, match=r"\(what came is no \.npz file or damaged"):
        obtain(COCO, convert)
    assert not source_of(COCO).exists()


def test_bounds(folder, server, convert):
    small = replace(COCO, limit=len(server.content) - 1)
    with pytest.raises(InputError, match=r"the file has .* bytes, more than the .* allowed"):
        obtain(small, convert)
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in cache._ARRAYS:
            bomb.writestr(name, bytes(10**5))
    server.content = file.getvalue()
    assert len(server.content) < 5000
    with pytest.raises(InputError, match=r"what came unpacks to more than 10,000 bytes"):
        obtain(replace(COCO, limit=10_000), convert)


def test_digests(folder, convert):
    with pytest.raises(InputError, match=r"its SHA-256 is .* instead of 1234"):
        obtain(replace(COCO, sha256="1234"), convert)


def test_a_conversion_that_is_refused(folder):
    def refuse(source, target, conventions):
        target.write_bytes(b"half")
        raise InputError(f"{source}: rpn/score/W is missing")

    with pytest.raises(InputError, match=r"^coco: .*W is missing; delete .*npz to have it fetched"):
        obtain(COCO, refuse)
    assert state_of(COCO) == "fetched"
    assert not list(folder.glob("*.safetensors"))


def test_a_conversion_that_is_interrupted(folder, convert):
    def interrupted(source, target, conventions):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain(COCO, interrupted)
    assert not list(folder.glob("*.safetensors"))
    assert obtain(COCO, convert).is_file()


def test_a_cache_that_cannot_be_written(folder, convert):
    folder.parent.parent.joinpath("a").write_bytes(b"a file")
    with pytest.raises(InputError, match=r"cache: weights cannot be kept there \(.*\); make room "):
        obtain(COCO, convert)


# --- several at once ------------------------------------------------------------------------


def test_one_works_and_the_others_wait(folder, server, convert, monkeypatch, caplog):
    caplog.set_level("INFO", logger="fcis")
    monkeypatch.setattr(cache, "_PATIENCE", 0.05)
    server.gate.clear()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(obtain(COCO, convert))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    said, until = "", time.monotonic() + 10
    while said.count("coco: waiting for the process") < 2 and time.monotonic() < until:
        time.sleep(0.01)
        said = "\n".join(caplog.messages)
    assert said.count("coco: waiting for the process") == 2
    server.gate.set()
    for thread in threads:
        thread.join(10)
    assert found == [converted_of(COCO)] * 3
    assert len(server.asked) == 1 and len(convert.calls) == 1


@pytest.mark.slow
def test_two_processes(folder, server, converted):
    program = (
        "import shutil, sys\n"
        "from fcis.weights.cache import obtain\n"
        "from fcis.weights.published import PUBLISHED\n"
        "def convert(source, target, conventions): shutil.copy(sys.argv[1], target)\n"
        "print(obtain(PUBLISHED['coco'], convert))\n"
    )
    server.gate.clear()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, converted("release")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    until = time.monotonic() + 60
    while not server.asked and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(3)  # for the other one to get as far
    server.gate.set()
    for process in running:
        assert process.communicate(timeout=60)[0].strip() == str(converted_of(COCO))
        assert process.returncode == 0
    assert len(server.asked) == 1
