"""Saved weights, and a server on this machine that can be told to misbehave."""

import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fcis.model.build import build_model
from fcis.recipe.conventions import named_conventions, with_conventions
from fcis.recipe.named import named_recipe
from fcis.weights.weights_file import WeightsInfo, read_info, save_weights


class Served:
    """What the server has, how it answers, and what it was asked.

    Attributes:
        content: of every file.
        headers: more headers of every answer with content.
        ranges: whether it sends parts.
        declared: Content-Length of whole files; None leaves the header out.
        cuts: after how many bytes each of the next answers ends.
        status: of every answer, where that is not 200 or 206.
        redirections: target by path.
        gate: cleared, every answer waits for it: `before` the headers or `within` the content.
        asked: path, `Range` and `If-Range` of each request.
    """

    def __init__(self):
        self.content = bytes(range(250)) * 4
        self.headers = {"ETag": '"1"'}
        self.ranges = True
        self.declared = "right"
        self.cuts = []
        self.status = None
        self.redirections = {}
        self.gate = threading.Event()
        self.gate.set()
        self.gate_at = "before"
        self.asked = []
        self.address = ""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        served = self.server.served
        served.asked.append((self.path, self.headers["Range"], self.headers["If-Range"]))
        if served.gate_at == "before":
            served.gate.wait(10)
        if self.path in served.redirections:
            self.send_response(302)
            self.send_header("Location", served.redirections[self.path])
            self.end_headers()
        elif served.status:
            self.send_error(served.status)
        else:
            self.send_content(served)

    def send_content(self, served):
        length, start = len(served.content), 0
        wanted, condition = self.headers["Range"], self.headers["If-Range"]
        if served.ranges and wanted and condition in (None, served.headers.get("ETag")):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= length:
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{length - 1}/{length}")
            self.send_header("Content-Length", str(length - start))
        else:
            self.send_response(200)
            if served.declared is not None:
                declared = length if served.declared == "right" else served.declared
                self.send_header("Content-Length", str(declared))
        for name, value in served.headers.items():
            self.send_header(name, value)
        self.end_headers()
        end = start + served.cuts.pop(0) if served.cuts else length
        try:
            if served.gate_at == "within":
                self.wfile.write(served.content[start : start + 10])
                start += 10
                served.gate.wait(10)
            self.wfile.write(served.content[start:end])
        except OSError:
            pass  # whoever asked has gone

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """Start the server; what it serves can be changed while it runs."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        running.served = Served()
        running.served.address = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running.served
        running.served.gate.set()
        running.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def converted(tiny_weights, tmp_path_factory):
    """Return a weights file of the smallest network under named conventions."""
    folder = tmp_path_factory.mktemp("converted")

    def make(conventions):
        path = folder / f"{conventions}.safetensors"
        if not path.exists():
            info = read_info(tiny_weights)
            model = with_conventions(info.model, named_conventions(conventions))
            save_weights(path, build_model(model), replace(info, model=model))
        return path

    return make


@pytest.fixture
def saved_info():
    """Return the description of a small network for two categories."""
    model = replace(named_recipe("tiny").model, class_names=("a", "b"), category_ids=(4, 9))
    return WeightsInfo(
        model=model,
        recipe="tiny",
        thresholds=(0.25, 0.75),
        training_data="some images",
        metrics=(("AP", 0.5), ("AP50", 0.625)),
        spread=(("AP50", 0.0625),),
        licence="CC0",
        about="tests",
    )


@pytest.fixture
def saved_model(saved_info):
    return build_model(saved_info.model, seed=1)


@pytest.fixture
def saved_path(tmp_path, saved_model, saved_info):
    """Return a file with that network and its description."""
    path = tmp_path / "w.safetensors"
    save_weights(path, saved_model, saved_info)
    return path
