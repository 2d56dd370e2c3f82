"""Fetching, from a server on this machine that cuts, lies, loops and waits."""

import hashlib
import json
import socket
from http.client import HTTPMessage
from io import BytesIO
from urllib.request import Request

import pytest

from fcis.weights import download
from fcis.weights.download import DownloadError, fetch

LIMIT = 10_000


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder / "a.npz"


def names(target):
    """All that lies in the target's folder, and nothing may lie beside that."""
    assert [path.name for path in target.parent.parent.iterdir()] == ["cache"]
    return sorted(path.name for path in target.parent.iterdir())


def cut_off(server, target, after=100):
    """Fetch the first bytes of a file, four connections' worth."""
    server.cuts = [after] * 4
    with pytest.raises(DownloadError, match=r"\(closed by the server\); another try goes on from"):
        fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert names(target) == ["a.npz.partial", "a.npz.partial.json"]
    server.asked.clear()


# --- complete or not there ------------------------------------------------------------------


def test_a_whole_file(server, target, capsys):
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert target.read_bytes() == server.content
    assert names(target) == ["a.npz"]
    assert server.asked == [("/a.npz", None, None)]
    assert "a.npz: 100%" in capsys.readouterr().err


def test_a_file_of_unknown_length(server, target):
    server.declared = None
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert target.read_bytes() == server.content


def test_the_target_appears_when_it_is_complete(server, target):
    server.cuts = [999] * 4
    server.ranges = False
    with pytest.raises(DownloadError, match=r"cut after 999 of 1,000 bytes"):
        fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert not target.exists()


# --- resumption -----------------------------------------------------------------------------


def test_a_cut_connection_is_taken_up(server, target):
    server.cuts = [100, 300]
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert target.read_bytes() == server.content
    assert server.asked == [
        ("/a.npz", None, None),
        ("/a.npz", "bytes=100-", '"1"'),
        ("/a.npz", "bytes=400-", '"1"'),
    ]


def test_a_later_call_goes_on(server, target):
    cut_off(server, target)
    assert (target.parent / "a.npz.partial").read_bytes() == server.content[:400]
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert target.read_bytes() == server.content
    assert server.asked == [("/a.npz", "bytes=400-", '"1"')]
    assert names(target) == ["a.npz"]


def test_a_server_without_ranges_sends_all_again(server, target):
    server.ranges = False
    server.cuts = [100]
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert target.read_bytes() == server.content
    assert [asked[1] for asked in server.asked] == [None, "bytes=100-"]


def test_another_version_is_not_mixed_in(server, target):
    cut_off(server, target)
    server.content, server.headers = b"new" * 300, {"ETag": '"2"'}
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert target.read_bytes() == server.content


def test_without_marks_of_versions_the_length_tells(server, target):
    server.headers = {}
    cut_off(server, target)
    server.content = b"new" * 300
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert target.read_bytes() == server.content
    assert server.asked == [("/a.npz", "bytes=400-", None), ("/a.npz", None, None)]


def test_a_file_that_has_shrunk(server, target):
    server.headers = {}
    cut_off(server, target)
    server.content = b"new"
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": 'W/"1"', "Last-Modified": "Wed, 30 Jan 2019 00:00:00 GMT"}, "Wed, 30 Jan"),
        ({"ETag": '"1"', "Last-Modified": "Wed, 30 Jan 2019 00:00:00 GMT"}, '"1"'),
    ],
)
def test_only_strong_marks_count(server, target, headers, condition):
    server.headers = headers
    cut_off(server, target)
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert server.asked[0][2].startswith(condition)
    assert target.read_bytes() == server.content


def test_what_cannot_be_gone_on_with(server, target):
    partial, beside = (target.with_name(f"a.npz.partial{end}") for end in ("", ".json"))
    good = {"address": f"{server.address}/a.npz", "validator": '"1"', "total": 1000}
    for size, description in (
        (10, None),
        (10, "{"),
        (10, "[]"),
        (10, json.dumps({**good, "total": None})),
        (10, json.dumps({**good, "total": -1})),
        (10, json.dumps({**good, "address": f"{server.address}/b.npz"})),
        (0, json.dumps(good)),
        (1000, json.dumps(good)),
        (2000, json.dumps(good)),
    ):
        server.asked.clear()
        partial.write_bytes(b"x" * size)
        if description is not None:
            beside.write_text(description)
        fetch(f"{server.address}/a.npz", target, limit=LIMIT)
        assert target.read_bytes() == server.content
        assert server.asked == [("/a.npz", None, None)], description
        assert names(target) == ["a.npz"]


# --- bounds and digests ---------------------------------------------------------------------


def test_declared_as_too_large(server, target):
    with pytest.raises(DownloadError, match=r"^the file has 1,000 bytes, more than the 999 allow"):
        fetch(f"{server.address}/a.npz", target, limit=999)
    assert names(target) == []
    fetch(f"{server.address}/a.npz", target, limit=1000)


def test_received_as_too_large(server, target):
    server.declared = None
    with pytest.raises(DownloadError, match=r"^the file has more than the 999 bytes allowed"):
        fetch(f"{server.address}/a.npz", target, limit=999)
    assert names(target) == []


def test_the_rest_of_a_part_is_bounded_too(server, target):
    cut_off(server, target)
    with pytest.raises(DownloadError, match=r"^the file has 1,000 bytes, more than the 999 allow"):
        fetch(f"{server.address}/a.npz", target, limit=999)


def test_declared_as_larger_than_it_is(server, target):
    server.declared = 2000
    with pytest.raises(DownloadError, match="the server has no more of the file than is here"):
        fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert names(target) == []


def test_digests(server, target):
    right = hashlib.sha256(server.content).hexdigest()
    fetch(f"{server.address}/a.npz", target, limit=LIMIT, sha256=right)
    target.unlink()
    with pytest.raises(DownloadError, match=f"^its SHA-256 is {right} instead of 0000"):
        fetch(f"{server.address}/a.npz", target, limit=LIMIT, sha256="0" * 64)
    assert names(target) == []


# --- servers that do not serve --------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 503])
def test_refusals(server, target, status):
    server.status = status
    with pytest.raises(DownloadError, match=f"^HTTP Error {status}: "):
        fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert names(target) == [] and len(server.asked) == 1


def test_an_answer_without_content(server, target):
    server.status = 204
    with pytest.raises(DownloadError, match="the server answers with status 204"):
        fetch(f"{server.address}/a.npz", target, limit=LIMIT)


def test_nobody_answers(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/a.npz"
    with pytest.raises(DownloadError, match="refused"):
        fetch(address, target, limit=LIMIT)


def test_no_such_server(target, monkeypatch):
    def no_names(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    with pytest.raises(DownloadError, match="Name or service not known"):
        fetch("https://nowhere.invalid/a.npz", target, limit=LIMIT)


@pytest.mark.parametrize(
    ("place", "message"),
    [("before", "^timed out$"), ("within", r"cut after 0 of 1,000 bytes \(timed out\)")],
)
def test_a_server_that_falls_silent(server, target, place, message):
    server.gate.clear()
    server.gate_at = place
    with pytest.raises(DownloadError, match=message):
        fetch(f"{server.address}/a.npz", target, limit=LIMIT, timeout=0.1)
    assert not target.exists()


@pytest.mark.parametrize("address", ["http://[", "http://x:y/a", "http:///a", "https://a b/c"])
def test_addresses_that_are_none(target, address):
    with pytest.raises(DownloadError, match=r"^[^\n]+$"):
        fetch(address, target, limit=LIMIT)


def test_other_schemes(target):
    for address in (__file__, f"file://{__file__}", "ftp://127.0.0.1/a", "HTTP", ""):
        with pytest.raises(DownloadError, match=r"^not an http or https|^unknown url type"):
            fetch(address, target, limit=LIMIT)
    assert names(target) == []


# --- redirections ---------------------------------------------------------------------------


def test_redirections_are_followed_with_the_range(server, target):
    server.redirections = {"/a.npz": "/b", "/b": f"{server.address}/c"}
    server.cuts = [100]
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert target.read_bytes() == server.content
    assert server.asked[-1] == ("/c", "bytes=100-", '"1"')


def test_redirections_that_do_not_end(server, target):
    server.redirections = {"/a": "/b", "/b": "/a"}
    with pytest.raises(DownloadError, match=r"^HTTP Error 302: [^\n]+ infinite loop$"):
        fetch(f"{server.address}/a", target, limit=LIMIT)
    assert len(server.asked) <= 6
    server.redirections = {f"/{n}": f"/{n + 1}" for n in range(20)}
    server.asked.clear()
    with pytest.raises(DownloadError, match="infinite loop"):
        fetch(f"{server.address}/0", target, limit=LIMIT)
    assert len(server.asked) == 6


@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x"])
def test_redirections_out_of_http(server, target, place):
    server.redirections = {"/a": place}
    with pytest.raises(DownloadError, match=r"as safe an address|is not allowed"):
        fetch(f"{server.address}/a", target, limit=LIMIT)
    assert names(target) == []


def test_redirections_do_not_give_up_encryption():
    handler = download._Redirections()

    def redirect(start, to):
        return handler.redirect_request(
            Request(start), BytesIO(), 302, "Found", HTTPMessage(), to
        ).full_url

    for start, to in (("http://a", "http://b"), ("http://a", "https://b"), ("https://a",) * 2):
        assert redirect(start, to) == to
    with pytest.raises(DownloadError, match=r"^redirected to http://b, which is not as safe"):
        redirect("https://a", "http://b")


# --- the disk -------------------------------------------------------------------------------


def test_places_that_cannot_be_written(server, tmp_path):
    with pytest.raises(FileNotFoundError):
        fetch(f"{server.address}/a.npz", tmp_path / "missing" / "a.npz", limit=LIMIT)


def test_an_interruption_leaves_what_came(server, target, monkeypatch):
    def interrupted(self, n=1):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download.tqdm, "update", interrupted)
        patch.setattr(download, "_CHUNK", 100)
        with pytest.raises(KeyboardInterrupt):
            fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    fetch(f"{server.address}/a.npz", target, limit=LIMIT)
    assert [asked[1] for asked in server.asked] == [None, "bytes=100-"]
    assert target.read_bytes() == server.content
