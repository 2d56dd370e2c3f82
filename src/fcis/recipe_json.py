"""Recipes as JSON, and single settings given as text."""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast, get_args, get_origin, get_type_hints

from fcis.errors import InputError

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
        InputError: an unknown field, a value of the wrong type, or one that is not allowed;
            the message begins with `where`.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: expected an object, got {data!r}")
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(map(str, data)) - set(names))
    if unknown:
        raise InputError(f"{where}: unknown field {unknown[0]!r}; there are {', '.join(names)}")
    values = {n: _convert(hints[n], data[n], f"{where}.{n}") for n in names if n in data}
    return kind(**values)


def _convert(hint: object, value: object, where: str) -> object:
    """Return a JSON value as the annotated type of a field."""
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.Literal:
        if value not in arguments:
            choices = ", ".join(map(str, arguments))
            raise InputError(f"{where}: {value!r} is not one of {choices}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: expected a list, got {value!r}")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise InputError(f"{where}: expected {len(kinds)} values, got {len(value)}")
        return tuple(
            _convert(k, v, f"{where}[{i}]")
            for i, (k, v) in enumerate(zip(kinds, value, strict=True))
        )
    if origin in (typing.Union, types.UnionType):
        raise TypeError(f"{where}: recipes have no optional fields")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise InputError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")
    return value


def with_setting(recipe: T, key: str, text: str) -> T:
    """Return the recipe with one field changed, as `--set key=value` asks.

    Args:
        recipe: any record of recipe.py.
        key: a dotted path, or the last part of one where only one field has that name.
        text: the value as JSON; words need no quotes.

    Raises:
        InputError: no such field, several of that name, or a value that does not fit.
    """
    paths = [p for p in _paths(recipe) if p == key or p.endswith(f".{key}")]
    exact = [p for p in paths if p == key]
    if len(exact or paths) != 1:
        found = f"is one of {', '.join(paths)}: write it out" if paths else "is not in the recipe"
        raise InputError(f"--set {key}: {key} {found}")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    return cast(T, _replaced(recipe, (exact or paths)[0].split("."), value, f"--set {key}"))


def _paths(record: object, prefix: str = "") -> list[str]:
    """Return the dotted paths of all fields that are not records themselves."""
    found = []
    for f in fields(record):  # type: ignore[arg-type]
        value = getattr(record, f.name)
        inner = is_dataclass(value) and not isinstance(value, type)
        found += _paths(value, f"{prefix}{f.name}.") if inner else [prefix + f.name]
    return found


def _replaced(record: object, path: list[str], value: object, where: str) -> object:
    name, rest = path[0], path[1:]
    if rest:
        new = _replaced(getattr(record, name), rest, value, where)
    else:
        new = _convert(get_type_hints(type(record))[name], value, where)
    return replace(record, **{name: new})  # type: ignore[type-var]
