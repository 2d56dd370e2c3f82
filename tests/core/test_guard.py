"""Errors of the code of others -> one line."""

import struct

import pytest

from fcis.core.errors import InputError
from fcis.core.guard import guarded, parse_json, reason_of


def said(error):
    return InputError(f"x.png: damaged ({reason_of(error)}); copy it again")


@pytest.mark.parametrize(
    "error",
    [
        AssertionError(),
        RuntimeError("no frame"),
        struct.error("no bytes"),
        RecursionError("too deep"),
        OverflowError("too large"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
        KeyError("a"),
        AttributeError("b"),
        SyntaxError("c"),
    ],
)
def test_whatever_comes_is_one_line(error):
    message = r"x\.png: damaged \(.+\); copy it again"
    with pytest.raises(InputError, match=message) as caught, guarded(said):
        raise error
    assert caught.value.__cause__ is error


def test_the_users_error_stays_itself():
    error = InputError("y.png: is empty")
    with pytest.raises(InputError) as caught, guarded(said):
        raise error
    assert caught.value is error


def test_an_interruption_and_other_kinds_pass():
    with pytest.raises(KeyboardInterrupt), guarded(said):
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="ours"), guarded(said, MemoryError):
        raise ValueError("ours")


def test_reasons():
    assert reason_of(MemoryError("0x12")) == "it asks for more memory than there is"
    assert reason_of(ValueError("two\n  lines")) == "two lines"
    assert reason_of(AssertionError()) == "AssertionError"
    assert len(reason_of(ValueError("x" * 1000))) == 203


@pytest.mark.parametrize("text", ["{", "[" * 100_000, b"\xff\xfe\x00", "1" * 5000, ""])
def test_what_is_no_json(text):
    with pytest.raises(InputError, match=r"a\.json: not valid JSON \(.*\); save it again"):
        parse_json(text, "a.json", "save it again")


def test_json():
    assert parse_json('{"a": [1]}', "a.json", "") == {"a": [1]}
