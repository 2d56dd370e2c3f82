"""Recipes as JSON, and single settings given as text."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from fcis.core.errors import InputError

T = TypeVar("T")
JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


def to_json(value: object) -> JSON:
    """Return a record of recipe.py, or a part of one, as plain JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [to_json(v) for v in value]
    return cast(JSON, value)


def from_json(kind: type[T], data: object, where: str) -> T:
    """Return the record that `to_json` wrote.

    Fields that are absent keep their default, so that older files go on working.

    Raises:
        InputError: an unknown field, one that is missing, a value of the wrong type, or one that
            is not allowed; the message begins with `where`.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: expected an object, got {data!r}")
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(map(str, data)) - set(known))
    if unknown:
        raise InputError(f"{where}: unknown field {unknown[0]!r}; there are {', '.join(known)}")
    for name, f in known.items():
        if name not in data and f.default is MISSING and f.default_factory is MISSING:
            raise InputError(f"{where}: the field {name!r} is missing")
    values = {n: _convert(hints[n], data[n], f"{where}.{n}") for n in known if n in data}
    return kind(**values)


def _convert(hint: object, value: object, where: str) -> object:
    """Return a JSON value as the annotated type of a field."""
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        # True equals 1, and 8.0 equals 8
        if not any(type(value) is type(choice) and value == choice for choice in arguments):
            raise InputError(f"{where}: {value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _convert_list(arguments, value, where)
    if hint is float:
        return _convert_float(value, where)
    if type(value) is not hint:
        expected = {bool: "true or false", int: "a whole number", str: "text"}
        raise InputError(f"{where}: expected {expected[cast(type, hint)]}, got {value!r}")
    return value


def _convert_list(arguments: tuple[object, ...], value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: expected a list such as [1, 2], got {value!r}")
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
    raise InputError(f"{where}: expected a finite number, got {value!r}")


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
    found = [p for p in paths if p == key] or [p for p in paths if p.endswith(f".{key}")]
    if len(found) > 1:
        raise InputError(f"--set {key}: {key} is one of {', '.join(found)}; write it out")
    if not found:
        names = {p.rpartition(".")[2]: p for p in paths}
        near = get_close_matches(key.rpartition(".")[2], names, n=1)
        hint = f"; did you mean {names[near[0]]}?" if near else ""
        raise InputError(f"--set {key}: {key} is not in the recipe{hint}")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return cast(T, _replaced(recipe, found[0].split("."), value, text))


def _paths(record: object, prefix: str = "") -> list[str]:
    """Return the dotted paths of all fields that are not records themselves."""
    found = []
    for f in fields(record):  # type: ignore[arg-type]
        value = getattr(record, f.name)
        inner = is_dataclass(value) and not isinstance(value, type)
        found += _paths(value, f"{prefix}{f.name}.") if inner else [prefix + f.name]
    return found


def _replaced(record: object, path: list[str], value: object, text: str) -> object:
    """Return a record with the field at a path changed, to `text` itself if it holds text."""
    name, rest = path[0], path[1:]
    if rest:
        new = _replaced(getattr(record, name), rest, value, text)
    else:
        hint = get_type_hints(type(record))[name]
        quoted = hint is not str or isinstance(value, str)
        new = _convert(hint, value if quoted else text, f"--set {name}")
    return replace(record, **{name: new})  # type: ignore[type-var]
