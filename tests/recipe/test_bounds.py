"""Each kind of bound at its ends, tuples in tuples, and the rules between fields."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Annotated, Literal

import pytest

from fcis.core.errors import InputError
from fcis.recipe.bounds import (
    Between,
    Length,
    Rising,
    Rule,
    below,
    check_bounds,
    check_record,
    hints_of,
    split_hint,
)
from fcis.recipe.named import RECIPES, named_recipe
from fcis.recipe.types import HeadRecipe, ModelRecipe, RPNRecipe

NAN, INFINITE = float("nan"), float("inf")

# Bounds


@pytest.mark.parametrize(
    ("bound", "good", "bad", "words"),
    [
        (Between(1, 64), [1, 2, 64], [0, 65, -1], "1 to 64"),
        (Between(0, 0.5), [0, 0.0, 0.5], [-1e-9, 0.5000001, NAN, INFINITE], "0 to 0.5"),
        (Between(0, 1, "low"), [1e-9, 1], [0, 0.0, 1.1, NAN], "above 0, at most 1"),
        (Between(0, 1, "high"), [0, 0.999], [-0.1, 1, 1.0, NAN], "at least 0, below 1"),
        (Between(0, 1, "both"), [0.001, 0.999], [0, 1, NAN], "above 0, below 1"),
        (
            Between(-1e6, 1e6),
            [-1e6, 1e6],
            [-1e6 - 1, 1e6 + 1, -INFINITE],
            "-1,000,000 to 1,000,000",
        ),
        (Length(0, 2), [(), (1, 2)], [(1, 2, 3)], "0 to 2 values"),
        (Length(1, 1000), [(1,), (0,) * 1000], [(), (0,) * 1001], "1 to 1,000 values"),
        (Rising(), [(), (1,), (1, 1, 2)], [(2, 1), (1, NAN)], "rising values"),
        (Rising(strictly=True), [(1, 2)], [(1, 1), (2, 1), (NAN, 1)], "rising values"),
    ],
)
def test_ends(bound, good, bad, words):
    assert all(bound.holds(value) for value in good)
    assert not any(bound.holds(value) for value in bad)
    assert str(bound) == words
    check_bounds(Annotated[object, bound], good[0], "here")
    with pytest.raises(InputError) as error:
        check_bounds(Annotated[object, bound], bad[0], "here")
    assert str(error.value) == f"here: is {bad[0]!r}, expected {words}"


Share = Annotated[float, Between(0, 1)]
Pair = Annotated[tuple[Share, Share], Rising()]


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (float, NAN, "w: is nan, expected a finite number"),
        (float, -INFINITE, "w: is -inf, expected a finite number"),
        (Share, NAN, "w: is nan, expected 0 to 1"),
        (tuple[float, ...], (1.0, INFINITE), "w[1]: is inf, expected a finite number"),
        (Literal["a", "b"], "c", "w: is 'c', expected one of a, b"),
        (Literal[8, 16], 32, "w: is 32, expected one of 8, 16"),
        (tuple[Literal["a"], ...], ("a", "b"), "w[1]: is 'b', expected one of a"),
        (tuple[Share, ...], (0.0, 1.0, 2.0), "w[2]: is 2.0, expected 0 to 1"),
        (Pair, (0.5, 2.0), "w[1]: is 2.0, expected 0 to 1"),
        (Pair, (0.5, 0.4), "w: is (0.5, 0.4), expected rising values"),
        (Pair, (0.5,), "w: is (0.5,), expected 2 values"),
        (Pair, (0.1, 0.2, 0.3), "w: is (0.1, 0.2, 0.3), expected 2 values"),
        (tuple[Pair, ...], ((0.1, 0.2), (0.9, 0.1)), "w[1]: is (0.9, 0.1), expected rising values"),
        (tuple[Pair, ...], ((0.1, 0.2), (0.1, 9.0)), "w[1][1]: is 9.0, expected 0 to 1"),
    ],
)
def test_values_inside_of_others(hint, value, message):
    with pytest.raises(InputError) as error:
        check_bounds(hint, value, "w")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 10**30),
        (str, "anything"),
        (float, 1e300),
        (Literal["a", "b"], "b"),
        (Pair, (0.0, 1.0)),
        (tuple[Pair, ...], ()),
        (tuple[str, ...], ("a",)),
    ],
)
def test_values_without_a_fault(hint, value):
    check_bounds(hint, value, "w")


def test_long_values_are_cut():
    with pytest.raises(InputError, match=r"^w: is \(0, 0, [0, ]*\.\.\., expected 0 to 2 values$"):
        check_bounds(Annotated[tuple[int, ...], Length(0, 2)], (0,) * 10**5, "w")


def test_bounds_of_a_bounded_type_add_up():
    assert split_hint(Annotated[Pair, Length(2, 2)])[1] == (Rising(), Length(2, 2))
    assert split_hint(int) == (int, ())
    assert split_hint(hints_of(HeadRecipe)["k"]) == (int, (Between(1, 64),))


def test_places_in_messages():
    assert below("", "steps") == "steps"
    assert below("training", "steps") == "training.steps"
    assert below("r.json: ", "training") == "r.json: training"
    assert below("w.safetensors: model", "head") == "w.safetensors: model.head"


# Records


@dataclass(frozen=True, kw_only=True)
class Inner:
    low: Share = 0.0
    high: Share = 1.0

    def rules(self) -> Iterator[Rule]:
        yield "low", self.low <= self.high, "at most high"


@dataclass(frozen=True, kw_only=True)
class Outer:
    size: Annotated[int, Between(1, 9)] = 1
    inner: Inner = field(default_factory=Inner)

    def rules(self) -> Iterator[Rule]:
        yield "inner.high", self.inner.high * 9 >= self.size, "a ninth of size or more"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Outer(size=0), "size: is 0, expected 1 to 9"),
        (Outer(inner=Inner(high=2.0)), "inner.high: is 2.0, expected 0 to 1"),
        (Outer(inner=Inner(low=0.6, high=0.5)), "inner.low: is 0.6, expected at most high"),
        (
            Outer(size=9, inner=Inner(high=0.5)),
            "inner.high: is 0.5, expected a ninth of size or more",
        ),
        # fields before rules, and what stands first
        (Outer(size=0, inner=Inner(low=0.6, high=0.5)), "size: is 0, expected 1 to 9"),
        (Outer(size=9, inner=Inner(low=-1.0, high=0.5)), "inner.low: is -1.0, expected 0 to 1"),
    ],
)
def test_the_first_fault_of_a_record(record, message):
    for where, prefix in (("", ""), ("top", "top."), ("f.json: ", "f.json: ")):
        with pytest.raises(InputError) as error:
            check_record(record, where)
        assert str(error.value) == prefix + message
    check_record(Outer(size=9), "")


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_are_within(name):
    check_record(named_recipe(name), "")


def changed(record, changes):
    """A record with fields at dotted paths changed."""
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        value = changed(getattr(record, head), {rest: value}) if rest else value
        record = replace(record, **{head: value})
    return record


AUGMENTATION = "training.augmentation"
CLASSES = {"model.class_names": ("a",), "model.category_ids": (3,)}


@pytest.mark.parametrize(
    ("good", "bad", "path", "expected"),
    [
        (
            {"model.rpn.pre_nms": 300},
            {"model.rpn.pre_nms": 299},
            "model.rpn.post_nms",
            "at most pre_nms",
        ),
        (
            {"model.head.out_size": 7},
            {"model.head.out_size": 6},
            "model.head.out_size",
            "at least k",
        ),
        (
            {"model.instfcn.window_cells": 7},
            {"model.instfcn.window_cells": 6},
            "model.instfcn.window_cells",
            "at least window_parts",
        ),
        (
            {"model.instfcn.window_negative": 0.5},
            {"model.instfcn.window_negative": 0.6},
            "model.instfcn.window_negative",
            "at most window_positive",
        ),
        (CLASSES, {"model.class_names": ("a",)}, "model.category_ids", "one id a category"),
        (
            {
                **CLASSES,
                "model.backbone.in_channels": 1,
                "model.preprocessing.mean": (9.0,),
                "model.preprocessing.std": (1.0,),
            },
            {**CLASSES, "model.backbone.in_channels": 1},
            "model.preprocessing.mean",
            "one value a channel (backbone.in_channels), like std",
        ),
        (
            {"model.system": "mnc", "model.head.sampling": "align"},
            {"model.system": "mnc", "model.head.sampling": "native"},
            "model.head.sampling",
            "pool or align: mnc has features and masks of one size",
        ),
        (
            {"model.system": "instfcn-rfcn", "model.detection.passes": 1},
            {"model.system": "instfcn-rfcn"},
            "model.detection.passes",
            "1: boxes refined from those of instfcn-rfcn's masks have no mask",
        ),
        (
            {"model.backbone.fusion": "c2"},
            {"model.backbone.fusion": "c2", "model.system": "fcis-separate"},
            "model.backbone.fusion",
            "none: fcis-separate has no score maps on a finer grid",
        ),
        (
            {"training.targets.anchor_negative": 0.7},
            {"training.targets.anchor_negative": 0.8},
            "training.targets.anchor_negative",
            "at most anchor_positive",
        ),
        (
            {"training.batch": 0},
            {"training.batch": 0, "training.devices": 2},
            "training.batch",
            "at least 1 on several devices; batch=0 on one of them tells what fits",
        ),
        (
            {"training.repeat_crops": 0.5, f"{AUGMENTATION}.crop": 64},
            {"training.repeat_crops": 0.5},
            "training.repeat_crops",
            "0 where augmentation.crop is 0",
        ),
        (
            {"training.patience": 1, "training.validate_every": 5},
            {"training.patience": 1},
            "training.patience",
            "0 where validate_every is 0",
        ),
        (
            {f"{AUGMENTATION}.elastic": 15.9},
            {f"{AUGMENTATION}.elastic": 16.0},
            f"{AUGMENTATION}.elastic_smoothness",
            "above elastic: content would be turned inside out",
        ),
        (
            {f"{AUGMENTATION}.crop_above": 9, f"{AUGMENTATION}.crop": 5},
            {f"{AUGMENTATION}.crop_above": 9},
            f"{AUGMENTATION}.crop_above",
            "0 where crop is 0",
        ),
        (
            {f"{AUGMENTATION}.sides": (480,)},
            {f"{AUGMENTATION}.sides": (480,), "model.preprocessing.short_side": 0},
            f"{AUGMENTATION}.sides",
            "none: the model resizes by a fixed zoom (model.preprocessing.short_side is 0); take "
            "training.augmentation.scale",
        ),
        *(
            (
                {f"{AUGMENTATION}.{name}": 0.5},
                {f"{AUGMENTATION}.{name}": 0.5, "model.backbone.in_channels": 1},
                f"{AUGMENTATION}.{name}",
                "0: it is for colours, and model.backbone.in_channels is 1",
            )
            for name in ("saturation", "hue")
        ),
    ],
)
def test_rules_between_fields(good, bad, path, expected):
    base = replace(named_recipe("coco-resnet101"), name="mine")
    base = changed(base, {"training.validate_every": 0})
    check_record(base, "")
    check_record(changed(base, good), "")
    broken = changed(base, bad)
    with pytest.raises(InputError) as error:
        check_record(broken, "")
    assert str(error.value) == f"{path}: is {attrgetter(path)(broken)!r}, expected {expected}"


def test_defaults_are_within():
    for kind in (ModelRecipe, RPNRecipe, HeadRecipe):
        check_record(kind(), "w")
