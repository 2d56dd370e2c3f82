"""Weight files of the Hugging Face hub, kept in the hub's own cache."""

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

from fcis.core.errors import InputError

HUB = "hf://"
_HUB_FILE = "model.safetensors"
_HUB_TIMEOUT = 10.0  # seconds


def from_hub(address: str) -> Path:
    """Return a file of the hub, from the cache if it is there and unchanged.

    `hf://owner/name` is the file `model.safetensors` of a repository, `hf://owner/name/path`
    another one.

    Raises:
        InputError: no such address, repository or file, or it cannot be fetched.
    """
    owner, _, rest = address.removeprefix(HUB).partition("/")
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
            f"{HUB}{repository}/FILE.safetensors"
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
