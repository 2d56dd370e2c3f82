"""What the documentation names exists: files, names in them, links, settings and their values."""

import ast
import dataclasses
import re
from operator import attrgetter
from pathlib import Path

import pytest

from fcis.recipe.conventions import PAPER, RELEASE, row_paths, with_conventions
from fcis.recipe.named import RECIPES
from fcis.recipe.types import Recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PAPER_PAGE = (ROOT / "docs" / "paper.md").read_text()
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)


def quoted(text):
    return re.findall(r"`([^`\n]+)`", text)


def top_level(path):
    """Return what a file defines."""
    body = ast.parse(path.read_text()).body
    found = {n.name for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    for node in body:
        if isinstance(node, ast.Assign):
            found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@each_page
def test_files_and_names_exist(page):
    for item in quoted(page.read_text()):
        if "NAME" in item:
            continue
        path, colons, name = item.partition("::")
        if colons or re.match(r"(?:src|tests|docs|benchmarks)/", path):
            assert (ROOT / path).exists(), item
        if colons:
            assert name in top_level(ROOT / path), item


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_there_is_something_to_check():
    assert len(PAGES) >= 6
    assert sum("::" in item for item in quoted(PAPER_PAGE)) > 50


def test_details_in_brackets_belong_to_the_name_before_them():
    pairs = re.findall(r"`(src/[^`]+)::(\w+)` \(((?:`[^`]+`(?:, )?)+)\)", PAPER_PAGE)
    assert len(pairs) >= 8
    for path, name, details in pairs:
        source = (ROOT / path).read_text()
        (node,) = [n for n in ast.parse(source).body if getattr(n, "name", "") == name]
        text = ast.get_source_segment(source, node)
        for detail in quoted(details):
            word = detail.partition("=")[0]
            assert re.search(rf"\b{word}\b", text), f"{name}: {detail}"


def test_recipes_of_the_page_exist():
    section = PAPER_PAGE.partition("## 4.1")[2].partition("## 4.3")[0]
    named = {n for n in quoted(section) if re.fullmatch(r"[a-z]+(?:-[a-z0-9]+)+|mnc", n)}
    assert len(named) >= 7 and named <= set(RECIPES)


def differences():
    """Return the rows of the table of differences, cell by cell."""
    table = PAPER_PAGE.partition("## Where the release differs")[2]
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", table, re.MULTILINE)
    return [(int(number), [c.strip() for c in cells.split(" | ")]) for number, cells in rows]


def test_all_differences_between_paper_and_release_have_a_row():
    assert [number for number, _ in differences()] == list(range(1, 23))
    rows = [number for number, cells in differences() if quoted(cells[1])]
    docs = "".join(type(record).__doc__ for record in records_of(Recipe(name="")))
    stated = {int(n) for n in re.findall(r"\[(\d+)\]", docs)}
    assert {1, 9, 18, 22} < stated
    assert stated - {10, 11, 12} <= set(rows)


def records_of(record):
    yield record
    for field in dataclasses.fields(record):
        if dataclasses.is_dataclass(inner := getattr(record, field.name)):
            yield from records_of(inner)


def shown(value):
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"{value}"


@pytest.mark.parametrize(("number", "cells"), differences())
def test_settings_of_a_row_exist_and_have_its_values(number, cells):
    base = Recipe(name="")
    rows = dict(map(reversed, row_paths(base)))
    for setting in quoted(cells[1]):
        attrgetter(setting)(base)  # there is such a path
        for values, cell in ((PAPER, cells[2]), (RELEASE, cells[3])):
            if setting not in rows or cell == "not stated" or number == 18:
                continue
            value = attrgetter(setting)(with_conventions(base, values))
            text = f"{value:g}" if isinstance(value, float) else shown(value)
            assert re.search(rf"(?<![\w.]){text}(?![\w.]*\d)", cell), f"{setting}: {text} in {cell}"


def test_every_setting_in_which_paper_and_release_differ_is_in_the_table():
    named = {name for _, cells in differences() for name in quoted(cells[1])}
    paths = list(row_paths(Recipe(name="")))
    assert {name for name, _ in paths} == PAPER.keys() == RELEASE.keys()
    for name, path in paths:
        if PAPER[name] != RELEASE[name]:
            assert path in named, path
