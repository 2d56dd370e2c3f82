"""From what a user calls weights to a file: the zoo, files, runs, the hub, published weights."""

from pathlib import Path

from fcis.core.errors import InputError
from fcis.weights.cache import obtain
from fcis.weights.hub import HUB, from_hub
from fcis.weights.published import PUBLISHED
from fcis.weights.weights_file import read_info

ZOO = Path(__file__).resolve().parent / "zoo"
"""The folder of the weights that come with the package; tests put another one here."""

_BEST = "best.safetensors"
_CARD = ".md"
# Weights that know nothing but what the package draws: of use by name alone.
_TOYS = frozenset({"scenes"})


def zoo() -> dict[str, Path]:
    """Return the weights that come with the package, by name."""
    return {p.stem: p for p in sorted(ZOO.glob("*.safetensors"))}


def card_of(path: Path) -> Path | None:
    """Return the card beside a weights file, None if there is none."""
    card = path.with_suffix(_CARD)
    return card if card.is_file() else None


def default_weights() -> str:
    """Return the name of the zoo's weights that are meant where none are named.

    The only ones that are for users' images: those for drawn scenes would find nothing in them.

    Raises:
        InputError: there are none, or several; says which.
    """
    names = [name for name in zoo() if name not in _TOYS]
    if len(names) == 1:
        return names[0]
    raise InputError(f"--weights is needed: {_choices()}")


def resolve_weights(name: str | None) -> Path:
    """Return the file that a name, a path, a run folder or a hub address means.

    Without a name, `default_weights`. From the hub, `hf://owner/name` is the file
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
    name = default_weights() if name is None else name
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
    raise InputError(f"{name}: no such weights; give {_choices()}")


def is_own_file(name: str, path: Path) -> bool:
    """Say whether a name that `resolve_weights` turned into a path is a path or run folder itself.

    What comes with the package, from the hub or from the cache of published weights is not.
    """
    return path in (Path(name), Path(name) / _BEST)


def _convert(source: Path, target: Path, conventions: str) -> None:
    # reading foreign files is seldom needed
    from fcis.weights.foreign.conversion import convert_file

    convert_file(source, target, conventions=conventions)


def _choices() -> str:
    """Return what can be named, the package's own weights first."""
    own = [f"{name} ({read_info(path).about})" for name, path in zoo().items()]
    return (
        f"{', '.join([*own, 'a .safetensors file'])}, a run folder, hf://owner/name, or published "
        f"weights ({', '.join(PUBLISHED)})"
    )
