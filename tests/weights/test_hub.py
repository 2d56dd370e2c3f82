"""The hub, which is played by functions in the test and never asked."""

import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from fcis.core.errors import InputError
from fcis.weights import hub
from fcis.weights.hub import from_hub


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    """Keep the hub's client off the network and off the user's cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def online(monkeypatch):
    """Let the client believe in a network, whose only answers are those of the test.

    Returns a function that says what a probe and what a download do: return or raise.
    """
    calls = []

    def install(probe=None, cached=None, download=None):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

        def urlopen(request, timeout):
            calls.append(("probe", request.full_url, request.get_method(), timeout))
            if probe is not None:
                raise probe
            return Path("/dev/null").open("rb")

        def fetch(repository, file, *, local_files_only=False, **options):
            calls.append(("cache" if local_files_only else "fetch", repository, file))
            answer = cached if local_files_only else download
            if isinstance(answer, Exception):
                raise answer
            return str(answer)

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        monkeypatch.setattr(hub, "hf_hub_download", fetch)
        return calls

    return install


def missing():
    return LocalEntryNotFoundError("not in the cache")


def http_error(kind):
    """One of the hub's errors, made without a response."""
    error = kind.__new__(kind)
    Exception.__init__(error, "404 Client Error")
    return error


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("hf://owner/name", "model.safetensors"),
        ("hf://owner/name/", "model.safetensors"),
        ("hf://owner/name/big/cells.safetensors", "big/cells.safetensors"),
    ],
)
def test_what_is_not_cached_is_fetched(online, tmp_path, address, file):
    calls = online(cached=missing(), download=tmp_path / "found")
    assert from_hub(address) == tmp_path / "found"
    assert calls == [
        ("cache", "owner/name", file),
        ("probe", f"https://huggingface.co/owner/name/resolve/main/{file}", "HEAD", 10.0),
        ("fetch", "owner/name", file),
    ]


def test_what_is_cached_is_not_probed(online, tmp_path):
    calls = online(probe=OSError("no network"), cached=tmp_path, download=tmp_path / "found")
    assert from_hub("hf://owner/name") == tmp_path / "found"
    assert [call[0] for call in calls] == ["cache", "fetch"]


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError(OSError(-2, "Name or service not known")),
        TimeoutError("timed out"),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
)
def test_no_network_is_said_at_once(online, error):
    calls = online(probe=error, cached=missing())
    with pytest.raises(InputError, match=r"^hf://owner/name: cannot be fetched \(.+\); check the"):
        from_hub("hf://owner/name")
    assert [call[0] for call in calls] == ["cache", "probe"]


def test_what_the_probe_cannot_judge_is_left_to_the_client(online, tmp_path):
    import ssl

    refusal = urllib.error.HTTPError("https://x", 403, "Forbidden", {}, None)
    for error in (refusal, urllib.error.URLError(ssl.SSLError("unknown certificate"))):
        online(probe=error, cached=missing(), download=tmp_path)
        assert from_hub("hf://owner/name") == tmp_path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (RepositoryNotFoundError, "the hub has no such repository, or a private one; check the"),
        (EntryNotFoundError, r"the repository has no file x\.safetensors; name one as in hf://own"),
        (OSError, r"cannot be fetched \(404 Client Error\); check the connection"),
        (LocalEntryNotFoundError, r"cannot be fetched \(it is not in the cache\); check the conn"),
    ],
)
def test_refusals_of_the_hub(online, kind, message):
    online(cached=missing(), download=http_error(kind))
    with pytest.raises(InputError, match=message) as error:
        from_hub("hf://owner/name/x.safetensors")
    assert "\n" not in str(error.value)


def test_offline_mode_does_not_wait(monkeypatch):
    def sleep(seconds):
        raise AssertionError(f"waits {seconds} s to try again")

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(InputError, match=r"cannot be fetched \(it is not in the cache\)"):
        from_hub("hf://owner/name")


@pytest.mark.parametrize("address", ["hf://", "hf://owner", "hf:///name", "hf://owner/"])
def test_addresses_that_are_none(address):
    with pytest.raises(InputError, match="expected hf://owner/name or hf://owner/name/file"):
        from_hub(address)


def test_names_that_the_hub_does_not_allow():
    with pytest.raises(InputError, match=r"hf://a/\.\.b--: no address of the hub \(Repo id must"):
        from_hub("hf://a/..b--")
