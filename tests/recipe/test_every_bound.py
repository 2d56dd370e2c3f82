"""Every field of every record: what is out of its bounds is refused, wherever it comes from."""

import json
import math
import re
from dataclasses import is_dataclass, replace
from typing import Literal, get_args, get_origin

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fcis.core.errors import InputError
from fcis.recipe.as_json import from_json, to_json, with_setting
from fcis.recipe.bounds import Between, Length, Rising, check_bounds, hints_of, split_hint
from fcis.recipe.named import named_recipe
from fcis.recipe.types import ModelRecipe, Recipe, TrainingRecipe
from fcis.weights.weights_file import WeightsInfo, read_info, write_arrays

BASE = named_recipe("tiny")
BASE = replace(BASE, model=replace(BASE.model, class_names=("a", "b"), category_ids=(1, 2)))
NAN = float("nan")
MANY = 10_000  # values of a list that take seconds to read


def fields_of(kind, prefix):
    """(path, annotation) of every field that is no record."""
    for name, hint in hints_of(kind).items():
        if is_dataclass(hint):
            yield from fields_of(hint, f"{prefix}{name}.")
        else:
            yield prefix + name, hint


FIELDS = dict([*fields_of(ModelRecipe, "model."), *fields_of(TrainingRecipe, "training.")])


def bound_of(bounds, kind):
    return next((bound for bound in bounds if isinstance(bound, kind)), None)


def ends(kind, bound):
    """What is just below a number's bounds, and just above."""
    for end, towards, closed in (
        (bound.low, -math.inf, bound.open not in ("low", "both")),
        (bound.high, math.inf, bound.open not in ("high", "both")),
    ):
        if kind is int:
            yield end + (1 if towards > 0 else -1)
        else:
            yield math.nextafter(float(end), towards) if closed else float(end)


def good_values(hint):
    """Two values that may be, rising."""
    kind, bounds = split_hint(hint)
    between = bound_of(bounds, Between)
    if kind is str:
        return "a", "b"
    if between is None:
        return 1, 2
    low = between.low + (1 if kind is int else 0.1)
    return low, low + (1 if kind is int else 0.1)


def bad_values(hint):
    """Values that may not be: too low, too high, of a wrong type, not a number."""
    kind, bounds = split_hint(hint)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        yield from ("none of these", [choices[0]], None)
        if type(choices[0]) is int:
            yield from (min(choices) - 1, max(choices) + 1, float(choices[0]), True)
    elif get_origin(kind) is tuple:
        yield from bad_lists(kind, bounds)
    elif kind is bool:
        yield from (0, 1, "yes", None)
    elif kind in (int, float):
        yield from ("1", True, None, [1])
        yield from [0.5] if kind is int else [NAN, math.inf, -math.inf]
        if (between := bound_of(bounds, Between)) is not None:
            yield from ends(kind, between)
    else:
        assert kind is str


def bad_lists(kind, bounds):
    inner = get_args(kind)
    low, high = good_values(inner[0])
    yield from (1, None, {"a": 1})
    if inner[-1] is Ellipsis:
        least = 2
        if (length := bound_of(bounds, Length)) is not None:
            least = max(1, length.least)
            if length.most < MANY:
                yield [low] * (length.most + 1)
            if length.least:
                yield [low] * (length.least - 1)
    else:
        least = len(inner)
        yield from ([low] * (least - 1), [low] * (least + 1))
    if (rising := bound_of(bounds, Rising)) is not None:
        yield [high, low]
        if rising.strictly:
            yield [low, low]
    own = [3] if split_hint(inner[0])[0] is str else list(bad_values(inner[0]))
    assert own
    for value in own:
        yield [*[low] * (least - 1), value]


def nested(path, value):
    """JSON with one value; what is absent keeps its default, and is read faster."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.fixture(scope="session")
def read_model(tmp_path_factory):
    """A function: reads a weights file whose model is this JSON."""
    path = tmp_path_factory.mktemp("bounds") / "w.safetensors"
    write_arrays(path, {"a": torch.zeros(1)}, WeightsInfo(model=BASE.model))
    with safe_open(path, framework="pt") as file:
        entry = json.loads(file.metadata()["fcis"])

    def read(model):
        changed = json.dumps({**entry, "model": model})
        save_file({"a": torch.zeros(1)}, path, metadata={"fcis": changed})
        return read_info(path).model

    return read


def refused(path, where, call):
    with pytest.raises(InputError) as error:
        call()
    pattern = rf"{where}{re.escape(path)}(\[\d+\])?: [^\n]+"
    assert re.fullmatch(pattern, str(error.value)), str(error.value)[:300]


@pytest.mark.parametrize("path", FIELDS)
def test_what_may_not_be_is_refused_with_its_path(path, read_model):
    values = list(bad_values(FIELDS[path]))
    assert values or split_hint(FIELDS[path])[0] is str
    for value in values:
        text = value if isinstance(value, str) else json.dumps(value)
        # the text 1 is the number
        if value != "1":
            refused(path, "--set ", lambda text=text: with_setting(BASE, path, text))
        data = {"name": "n", **nested(path, value)}
        refused(path, "r.json: ", lambda data=data: from_json(Recipe, data, "r.json: "))
        if "model" in data:
            model = data["model"]
            refused(path, r"/.+/w\.safetensors: ", lambda model=model: read_model(model))


def test_a_list_of_very_many_values():
    hint = FIELDS["model.class_names"]
    assert bound_of(split_hint(hint)[1], Length).holds(("a",) * 100_000)
    with pytest.raises(InputError, match=r"^w: is \('a', .*\.\.\., expected 0 to 100,000 values$"):
        check_bounds(hint, ("a",) * 100_001, "w")
    long = {path for path, hint in FIELDS.items() if is_long(hint)}
    assert long == {"model.class_names"}


def is_long(hint):
    length = bound_of(split_hint(hint)[1], Length)
    return length is not None and length.most >= MANY


def test_what_nobody_has_changed_is_read(read_model):
    assert from_json(Recipe, to_json(BASE), "r.json: ") == BASE
    assert read_model(to_json(BASE.model)) == BASE.model


def numbers_in(hint):
    """(type, bound) of a number and of those in a list."""
    kind, bounds = split_hint(hint)
    if get_origin(kind) is tuple:
        for inner in set(get_args(kind)) - {Ellipsis}:
            yield from numbers_in(inner)
    elif kind in (int, float):
        yield kind, bound_of(bounds, Between)


def test_every_number_has_bounds():
    assert len(FIELDS) > 110
    free = {path for path, hint in FIELDS.items() if any(b is None for _, b in numbers_in(hint))}
    assert free == {"model.category_ids"}  # whatever a dataset calls its categories


@pytest.mark.parametrize(
    "path", [p for p, h in FIELDS.items() if bound_of(split_hint(h)[1], Between)]
)
def test_values_at_the_ends_may_be(path):
    between = bound_of(split_hint(FIELDS[path])[1], Between)
    low, high = between.open in ("low", "both"), between.open in ("high", "both")
    for end, is_open in ((between.low, low), (between.high, high)):
        value = math.nextafter(end, (between.low + between.high) / 2) if is_open else end
        changed = with_setting(BASE, path, json.dumps(value))
        name, record = path.rpartition(".")[2], changed
        for part in path.split(".")[:-1]:
            record = getattr(record, part)
        assert getattr(record, name) == value
