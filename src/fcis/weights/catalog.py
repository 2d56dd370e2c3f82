"""From what a user calls weights to a file: zoo names, files, run folders, hub addresses."""

from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from fcis.errors import InputError

_ZOO = Path(__file__).resolve().parent.parent / "zoo"
_BEST = "best.safetensors"
_HUB = "hf://"
_HUB_FILE = "model.safetensors"


def zoo() -> dict[str, Path]:
    """Return the weights that come with the package, by name."""
    return {p.stem: p for p in sorted(_ZOO.glob("*.safetensors"))}


def resolve_weights(name: str | None) -> Path:
    """Return the file that a zoo name, a path, a run folder or a hub address means.

    Without a name, the only weights of the zoo.

    Raises:
        InputError: there is no such thing; says what there is.
    """
    found = zoo()
    if name is None:
        if len(found) == 1:
            return next(iter(found.values()))
        raise InputError(
            f"--weights is needed: a .safetensors file or a run folder{_listed(found)}"
        )
    if name in found:
        return found[name]
    if name.startswith(_HUB):
        return _from_hub(name)
    path = Path(name)
    if path.is_dir():
        if not (path / _BEST).is_file():
            raise InputError(f"{path}: has no {_BEST}; has its training reached a validation?")
        return path / _BEST
    if not path.is_file():
        raise InputError(
            f"{name}: no such weights; give a .safetensors file or a run folder{_listed(found)}"
        )
    return path


def _listed(found: dict[str, Path]) -> str:
    return f", or one of {', '.join(found)}" if found else ""


def _from_hub(address: str) -> Path:
    owner, _, rest = address.removeprefix(_HUB).partition("/")
    repository, _, file = rest.partition("/")
    if not owner or not repository:
        raise InputError(f"{address}: expected hf://owner/name or hf://owner/name/file.safetensors")
    try:
        return Path(hf_hub_download(f"{owner}/{repository}", file or _HUB_FILE))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{address}: cannot be fetched ({reason}); check the address and the connection, "
            "or give a file that you have"
        ) from None
