"""From what a user calls weights to a file: the zoo, files, runs, the hub, published weights."""

from pathlib import Path

from fcis.errors import InputError
from fcis.weights.cache import obtain
from fcis.weights.hub import HUB, from_hub
from fcis.weights.published import PUBLISHED

_ZOO = Path(__file__).resolve().parent.parent / "zoo"
_BEST = "best.safetensors"


def zoo() -> dict[str, Path]:
    """Return the weights that come with the package, by name."""
    return {p.stem: p for p in sorted(_ZOO.glob("*.safetensors"))}


def resolve_weights(name: str | None) -> Path:
    """Return the file that a name, a path, a run folder or a hub address means.

    Without a name, the only weights of the zoo. From the hub, `hf://owner/name` is the file
    `model.safetensors` of a repository, `hf://owner/name/path` another one; files are kept in the
    hub's cache and found there without a connection.

    A zoo name comes first, whatever lies in the current folder. A published name (`coco`, ...)
    comes after a file or a run folder with weights of that name, but before any other folder:
    `coco` is a usual name for a folder of images. `./coco` is a path in any case. Published
    weights are fetched and converted when they are first used (`fcis.weights.cache`).

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
    if name.startswith(HUB):
        return from_hub(name)
    path = Path(name)
    if path.is_file():
        return path
    if (path / _BEST).is_file():
        return path / _BEST
    if name in PUBLISHED:
        return obtain(PUBLISHED[name], _convert)
    if path.is_dir():
        raise InputError(
            f"{path}: this folder has no {_BEST}; give a run folder whose training has reached a "
            "validation, or a .safetensors file"
        )
    raise InputError(f"{name}: no such weights; give {_choices(found)}")


def is_own_file(name: str, path: Path) -> bool:
    """Say whether a name that `resolve_weights` turned into a path is a path or run folder itself.

    What comes with the package, from the hub or from the cache of published weights is not.
    """
    return path in (Path(name), Path(name) / _BEST)


def _convert(source: Path, target: Path, conventions: str) -> None:
    # reading foreign files is seldom needed
    from fcis.weights.convert import convert_file

    convert_file(source, target, conventions=conventions)


def _choices(found: dict[str, Path]) -> str:
    published = f"published weights ({', '.join(PUBLISHED)})"
    named = f", or one of {', '.join(found)}" if found else ""
    return f"a .safetensors file, a run folder or hf://owner/name, {published}{named}"
