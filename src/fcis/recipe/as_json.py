"""Recipes as JSON, and single settings given as text."""

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Literal, TypeVar, cast, get_args, get_origin

from fcis.core.errors import InputError
from fcis.recipe.bounds import below, check_bounds, check_record, hints_of, shown, split_hint
from fcis.recipe.migrations import MOVED, VERSION, migrate
from fcis.recipe.types import ModelRecipe, Recipe

T = TypeVar("T")
JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


def to_json(value: object) -> JSON:
    """Return a recipe, a model's, or a part of one, as plain JSON values.

    A recipe and a model have the version that `from_json` asks for.
    """
    plain = _plain(value)
    if isinstance(value, Recipe | ModelRecipe) and isinstance(plain, dict):
        return {"version": VERSION, **plain}
    return plain


def _plain(value: object) -> JSON:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return cast(JSON, value)


def from_json(kind: type[T], data: object, where: str) -> T:
    """Return the record that `to_json` wrote, in this version or an earlier one.

    Fields that are absent keep their default, so that older files go on working.

    Raises:
        InputError: an unknown field, one that is missing, a value of the wrong type, or one that
            is not allowed; the message begins with `where`, which is as `check_record` takes it.
    """
    if kind in (Recipe, ModelRecipe) and isinstance(data, Mapping):
        data = migrate(data, where, of_model=kind is ModelRecipe)
    record = _record(kind, data, where)
    check_record(record, where)
    return record


def _record(kind: type[T], data: object, where: str) -> T:
    if not isinstance(data, Mapping):
        raise InputError(f"{where.removesuffix(': ')}: expected an object, got {shown(data)}")
    hints = hints_of(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(map(str, data)) - set(known))
    if unknown:
        raise InputError(
            f"{where.removesuffix(': ')}: unknown field {unknown[0]!r}; there are "
            f"{', '.join(known)}"
        )
    for name, f in known.items():
        if name not in data and f.default is MISSING and f.default_factory is MISSING:
            raise InputError(f"{where.removesuffix(': ')}: the field {name!r} is missing")
    values = {n: _convert(hints[n], data[n], below(where, n)) for n in known if n in data}
    return kind(**values)


def _convert(hint: object, value: object, where: str) -> object:
    """Return a JSON value as the annotated type of a field, its bounds aside."""
    hint, _ = split_hint(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return _record(hint, value, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        # True equals 1, and 8.0 equals 8
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise InputError(
                f"{where}: {shown(value)} is not one of {', '.join(map(str, arguments))}"
            )
        return value
    if origin is tuple:
        return _convert_list(arguments, value, where)
    if hint is float:
        return _convert_float(value, where)
    if type(value) is not hint:
        expected = {bool: "true or false", int: "a whole number", str: "text"}
        raise InputError(f"{where}: expected {expected[cast(type, hint)]}, got {shown(value)}")
    return value


def _convert_list(arguments: tuple[object, ...], value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: expected a list such as [1, 2], got {shown(value)}")
    kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(value):
        raise InputError(f"{where}: expected {len(kinds)} values, got {len(value)}")
    pairs = zip(kinds, value, strict=True)
    return tuple(_convert(kind, v, f"{where}[{i}]") for i, (kind, v) in enumerate(pairs))


def _convert_float(value: object, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise InputError(f"{where}: expected a finite number, got {shown(value)}")


def with_setting(recipe: T, key: str, text: str) -> T:
    """Return the recipe with one field changed, as `--set key=value` asks.

    Args:
        recipe: any record of recipe.py.
        key: a dotted path, or the last part of one where only one field has that name.
        text: the value as JSON; words need no quotes.

    Raises:
        InputError: no such field, several of that name, or a value that does not fit.
    """
    paths = _paths(recipe)
    found = _matching(key, paths)
    if len(found) != 1 and (old := _matching(key, MOVED)):
        # a path of before, or a name that stood for one value then
        found = [path for path in MOVED[old[0]] if path in paths]
        if found:
            warnings.warn(f"--set {key}: is {' and '.join(found)} now", stacklevel=2)
    elif len(found) > 1:
        raise InputError(f"--set {key}: {key} is one of {', '.join(found)}; write it out")
    if not found:
        names = {p.rpartition(".")[2]: p for p in paths}
        near = get_close_matches(key.rpartition(".")[2], names, n=1)
        hint = f"; did you mean {names[near[0]]}?" if near else ""
        raise InputError(f"--set {key}: {key} is not in the recipe{hint}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    for path in found:
        recipe = cast(T, _replaced(recipe, path.split("."), value, text, f"--set {path}"))
    return recipe


def _matching(key: str, paths: Iterable[str]) -> list[str]:
    """Return the path that a key is, else those that end in it."""
    paths = list(paths)
    return [p for p in paths if p == key] or [p for p in paths if p.endswith(f".{key}")]


def _paths(record: object, prefix: str = "") -> list[str]:
    """Return the dotted paths of all fields that are not records themselves."""
    found = []
    for f in fields(record):  # type: ignore[arg-type]
        value = getattr(record, f.name)
        inner = is_dataclass(value) and not isinstance(value, type)
        found += _paths(value, f"{prefix}{f.name}.") if inner else [prefix + f.name]
    return found


def _replaced(record: object, path: list[str], value: object, text: str, where: str) -> object:
    """Return a record with the field at a path changed, to `text` itself if it holds text."""
    name, rest = path[0], path[1:]
    if rest:
        new = _replaced(getattr(record, name), rest, value, text, where)
    else:
        hint = hints_of(type(record))[name]
        quoted = split_hint(hint)[0] is not str or isinstance(value, str)
        new = _convert(hint, value if quoted else text, where)
        check_bounds(hint, new, where)
    return replace(record, **{name: new})  # type: ignore[type-var]
