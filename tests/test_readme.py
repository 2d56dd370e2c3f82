"""What the README says exists: its commands parse, its files and recipes are there."""

import re
import shlex
from pathlib import Path

import pytest

from fcis.cli.main import build_parser
from fcis.recipe.named import RECIPES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(
    r"^    (fcis (?:demo|predict|train|evaluate|info)\b.*)$", README, re.MULTILINE
)


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    options = build_parser().parse_args(shlex.split(command)[1:])
    assert options.command == command.split()[1]


def test_flags_in_prose_exist():
    known = "".join(file.read_text() for file in (ROOT / "src/fcis/cli").glob("*.py"))
    for flag in set(re.findall(r"`(--[a-z-]+)", README)):
        assert f'"{flag}"' in known, flag


def test_the_tree_is_on_the_disk():
    block = re.search(r"^    src/fcis/\n((?:      .*\n)+)", README, re.MULTILINE)
    assert block is not None
    names = re.findall(r"^      ((?:\S+ )+?) ", block.group(1), re.MULTILINE)
    listed = {name for entry in names for name in entry.split()}
    assert len(listed) == 14
    missing = [n for n in listed if not (ROOT / "src/fcis" / n.rstrip("/")).exists()]
    assert not missing


def test_every_recipe_has_a_row():
    for name in RECIPES:
        assert f"`{name}`" in README


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_pictures_exist():
    for path in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / path).exists(), path
