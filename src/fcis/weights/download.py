"""One file over HTTP to one place: complete there or not there, resumed where it was cut.

Knows nothing of weights. What has come so far lies in `NAME.partial`; `NAME.partial.json` says
which answer of which address it is the beginning of, and only that answer is gone on with.
"""

import hashlib
import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from tqdm import tqdm

_ATTEMPTS = 4  # connections that may be cut before we give up
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 18  # bytes
_LOG_INTERVAL = 30.0  # seconds between lines of progress where nobody watches


class DownloadError(Exception):
    """The file cannot be had from there; the message is the reason, one line."""


class _CutError(Exception):
    """The connection ended early; what came is kept."""


class _StaleError(Exception):
    """What came before does not fit what the server has now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """Whose beginning a partial file is.

    Attributes:
        address: asked for.
        validator: the server's mark of this version of the file; empty: it gave none.
        total: bytes of the whole file; -1: the server did not say.
    """

    address: str
    validator: str
    total: int


def fetch(
    address: str, target: Path, *, limit: int, sha256: str = "", timeout: float = _TIMEOUT
) -> None:
    """Fetch a file, going on with what an earlier call has left.

    A connection that is cut is taken up again a few times. Writes nothing but the target and,
    beside it, `NAME.partial` and `NAME.partial.json`. Two calls for the same target must not run
    at the same time.

    Args:
        address: of scheme http or https; so must be what it redirects to, and never http from
            https.
        target: its folder exists.
        limit: bytes beyond which the file is refused, as declared and as received.
        sha256: hexadecimal digest of the whole; empty where none is known.
        timeout: seconds without a byte after which a connection counts as cut.

    Raises:
        DownloadError: it cannot be had, is too large, or is not what the digest says.
        OSError: the files cannot be written.
    """
    try:
        scheme = Request(address).type
    except ValueError as error:
        raise DownloadError(_reason(error)) from None
    if scheme not in ("http", "https"):
        raise DownloadError("not an http or https address")
    partial = target.with_name(f"{target.name}.partial")
    problem = ""
    for _ in range(_ATTEMPTS):
        try:
            _transfer(address, partial, limit=limit, timeout=timeout)
            break
        except _CutError as error:
            problem = f"{error}; another try goes on from there"
        except _StaleError as error:
            _discard(partial)
            problem = str(error)
    else:
        raise DownloadError(problem)
    if sha256 and (found := _digest(partial)) != sha256:
        _discard(partial)
        raise DownloadError(f"its SHA-256 is {found} instead of {sha256}")
    partial.replace(target)
    _discard(partial)


def _transfer(address: str, partial: Path, *, limit: int, timeout: float) -> None:
    """Complete the partial file over one connection."""
    known = _read_answer(partial, address)
    have = partial.stat().st_size if known else 0
    request = Request(address, headers={"User-Agent": "fcis-torch"})
    if known and have:
        request.add_header("Range", f"bytes={have}-")
        if known.validator:
            request.add_header("If-Range", known.validator)
    with _open(request, timeout) as response:
        if known and have and response.status == 206:
            _check_part(response.headers, have, known.total)
            total = known.total
        elif response.status == 200:  # also where the server ignores ranges
            have, total = 0, _declared(response.headers)
        else:
            raise DownloadError(f"the server answers with status {response.status}")
        if total > limit:
            raise DownloadError(f"the file has {total:,} bytes, more than the {limit:,} allowed")
        with partial.open("ab" if have else "wb") as file:
            if not have:  # after the truncation, or it would describe the old bytes
                answer = _Answer(
                    address=address, validator=_validator(response.headers), total=total
                )
                _beside(partial).write_text(json.dumps(asdict(answer)), encoding="utf-8")
            _copy(response, file, have, total, limit)
            file.flush()
            os.fsync(file.fileno())


def _copy(response: HTTPResponse, file: IO[bytes], have: int, total: int, limit: int) -> None:
    """Append what the connection brings, until it ends."""
    bar = tqdm(
        total=total if total >= 0 else None,
        initial=have,
        desc=Path(file.name).stem,
        unit="B",
        unit_scale=True,
        mininterval=0.1 if sys.stderr.isatty() else _LOG_INTERVAL,
    )
    with bar:
        while True:
            try:
                data = response.read(_CHUNK)
            except (OSError, HTTPException) as error:
                raise _CutError(_cut(have, total, _reason(error))) from None
            if not data:
                break
            have += len(data)
            if have > limit:
                _discard(Path(file.name))
                raise DownloadError(f"the file has more than the {limit:,} bytes allowed")
            file.write(data)
            bar.update(len(data))
    if total >= 0 and have != total:
        raise _CutError(_cut(have, total, "closed by the server"))


def _open(request: Request, timeout: float) -> HTTPResponse:
    """Return the answer of the server, redirections followed."""
    opener = OpenerDirector()  # of `build_opener`'s handlers those for http and https alone
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        _Redirections(),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    try:
        return opener.open(request, timeout=timeout)
    except HTTPError as error:
        error.close()
        if error.code == 416:
            raise _StaleError("the server has no more of the file than is here") from None
        raise DownloadError(_reason(error)) from None
    # ValueError: addresses that are none
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(_reason(error)) from None


class _Redirections(HTTPRedirectHandler):
    """Follow a few redirections, and none that leaves http or gives up encryption."""

    max_redirections = 5
    max_repeats = 2

    def redirect_request(
        self,
        req: Request,
        fp: object,
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        """Return the next request."""
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type == "https"):
            raise DownloadError(f"redirected to {newurl}, which is not as safe an address")
        answer = cast(IO[bytes], fp)  # an HTTPResponse, which is none to a type checker
        return super().redirect_request(req, answer, code, msg, headers, newurl)


def _check_part(headers: HTTPMessage, have: int, total: int) -> None:
    found = headers.get("Content-Range", "")
    if not re.fullmatch(rf"bytes {have}-\d+/{total}", found):
        raise _StaleError(f"the server sends another part ({found!r}) than was asked for")


def _declared(headers: HTTPMessage) -> int:
    length = headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else -1


def _validator(headers: HTTPMessage) -> str:
    """Return what `If-Range` takes: a strong tag of the version, or its date."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _read_answer(partial: Path, address: str) -> _Answer | None:
    """Return what a partial file is the beginning of; None where one cannot go on with it."""
    try:
        data = json.loads(_beside(partial).read_text(encoding="utf-8"))
        answer = _Answer(
            address=str(data["address"]),
            validator=str(data["validator"]),
            total=int(data["total"]),
        )
        size = partial.stat().st_size
    except (OSError, ValueError, LookupError, TypeError):
        return None
    # without a length there is no telling when it is complete
    return answer if answer.address == address and 0 < size < answer.total else None


def _beside(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _discard(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _beside(partial).unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cut(have: int, total: int, reason: str) -> str:
    whole = f" of {total:,}" if total >= 0 else ""
    return f"the connection was cut after {have:,}{whole} bytes ({reason})"


def _reason(error: Exception) -> str:
    """Return what went wrong in one line."""
    inner = error.reason if type(error) is URLError else error
    return (str(inner).splitlines() or [""])[0].rstrip(".") or type(inner).__name__
