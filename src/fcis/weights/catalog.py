"""From what a user calls weights to a file: zoo names, files, run folders, hub addresses."""

import ssl
import urllib.error
import urllib.request
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from fcis.errors import InputError

_ZOO = Path(__file__).resolve().parent.parent / "zoo"
_BEST = "best.safetensors"
_HUB = "hf://"
_HUB_FILE = "model.safetensors"
_HUB_TIMEOUT = 10.0  # seconds


def zoo() -> dict[str, Path]:
    """Return the weights that come with the package, by name."""
    return {p.stem: p for p in sorted(_ZOO.glob("*.safetensors"))}


def resolve_weights(name: str | None) -> Path:
    """Return the file that a zoo name, a path, a run folder or a hub address means.

    Without a name, the only weights of the zoo. From the hub, `hf://owner/name` is the file
    `model.safetensors` of a repository, `hf://owner/name/path` another one; files are kept in the
    hub's cache and found there without a connection.

    Raises:
        InputError: there is no such thing, says what there is; or it cannot be fetched.
    """
    found = zoo()
    if name is None:
        if len(found) == 1:
            return next(iter(found.values()))
        raise InputError(f"--weights is needed: {_choices(found)}")
    if name in found:
        return found[name]
    if name.startswith(_HUB):
        return _from_hub(name)
    path = Path(name)
    if path.is_dir():
        if not (path / _BEST).is_file():
            raise InputError(
                f"{path}: this folder has no {_BEST}; give a run folder whose training has "
                "reached a validation, or a .safetensors file"
            )
        return path / _BEST
    if not path.is_file():
        raise InputError(f"{name}: no such weights; give {_choices(found)}")
    return path


def _choices(found: dict[str, Path]) -> str:
    named = f", or one of {', '.join(found)}" if found else ""
    return f"a .safetensors file, a run folder or hf://owner/name{named}"


def _from_hub(address: str) -> Path:
    """Return a file of the hub, from the cache if it is there and unchanged."""
    owner, _, rest = address.removeprefix(_HUB).partition("/")
    name, _, file = rest.partition("/")
    if not owner or not name:
        raise InputError(f"{address}: expected hf://owner/name or hf://owner/name/file.safetensors")
    repository, file = f"{owner}/{name}", file or _HUB_FILE
    try:
        _check_connection(address, repository, file)
        return Path(hf_hub_download(repository, file, etag_timeout=_HUB_TIMEOUT))
    except HFValidationError as error:
        raise InputError(f"{address}: no address of the hub ({_first_line(error)})") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"{address}: the hub has no such repository, or a private one; check the spelling, "
            "or log in with `hf auth login`"
        ) from None
    except LocalEntryNotFoundError:
        raise InputError(_unreachable(address, "it is not in the cache")) from None
    except EntryNotFoundError:
        raise InputError(
            f"{address}: the repository has no file {file}; name one as in "
            f"{_HUB}{repository}/FILE.safetensors"
        ) from None
    except OSError as error:
        raise InputError(_unreachable(address, _first_line(error))) from None


def _check_connection(address: str, repository: str, file: str) -> None:
    """Refuse at once what is neither in the cache nor within reach.

    The hub's own client tries again and again for up to six minutes before it says so.
    """
    if constants.HF_HUB_OFFLINE:
        return  # its client does not try then
    try:
        hf_hub_download(repository, file, local_files_only=True)
        return  # there is a copy, to which its client falls back without trying again
    except LocalEntryNotFoundError:
        pass
    request = urllib.request.Request(hf_hub_url(repository, file), method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_HUB_TIMEOUT).close()
    except urllib.error.HTTPError:
        return  # it answers; what it objects to, its client says better
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if not isinstance(reason, ssl.SSLError):  # its client has certificates of its own
            raise InputError(_unreachable(address, _first_line(reason))) from None


def _unreachable(address: str, reason: str) -> str:
    return (
        f"{address}: cannot be fetched ({reason}); check the connection, or give a file that you "
        "have"
    )


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
