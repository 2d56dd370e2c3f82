"""What holds for all of the code: layers, sizes, names, docstrings, tests, executed shapes."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

import fcis

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SOURCE = ROOT / "src" / "fcis"
FILES = sorted(SOURCE.rglob("*.py"))
MOST_FILE_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 400, 80, 8

# What users may import from `fcis`; whoever changes this changes what others' code relies on.
PUBLIC = {"InputError", "Instances", "load"}

# Modules without a test module of their own, each with the reason.
UNTESTED = {
    "__main__.py": "one call, made by the tests of the command",
    "__init__.py": "names alone, pinned below",
    "core/coco_types.py": "types alone, checked by pyright",
    "core/errors.py": "one exception without a body",
    "structures.py": "records whose shapes are executed by the tests of every stage",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
each_file = pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public_definitions(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple]:
    """Yield the name and node of public functions, classes and their methods."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node, f"{prefix}{node.name}.")


def is_overload(node: ast.AST) -> bool:
    return isinstance(node, Function) and any(
        isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list
    )


def test_the_files_are_found():
    assert len(FILES) > 40 and Path(fcis.__file__) == SOURCE / "__init__.py"


def test_imports_point_to_lower_layers():
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@each_file
def test_files_and_functions_are_short(path):
    assert len(path.read_text().splitlines()) <= MOST_FILE_LINES
    for node in functions(parsed(path)):
        length = node.end_lineno - node.lineno + 1
        assert length <= MOST_FUNCTION_LINES, f"{node.name}: {length} lines"


@each_file
def test_constructors_take_few_parameters(path):
    for node in functions(parsed(path)):
        if node.name == "__init__":
            names = [a.arg for a in node.args.args + node.args.kwonlyargs]
            assert len(names) - 1 <= MOST_PARAMETERS, names


@each_file
def test_public_names_have_docstrings(path):
    tree = parsed(path)
    assert ast.get_docstring(tree), "the module has none"
    for name, node in public_definitions(tree):
        assert ast.get_docstring(node) or is_overload(node), f"{name} has none"


@each_file
def test_functions_are_annotated(path):
    for node in functions(parsed(path)):
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        assert not bare and node.returns is not None, f"{node.name}: {bare or 'result'}"


@each_file
def test_annotations_are_executed(path):
    """A `from __future__ import annotations` would turn shapes into text that nobody checks."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__"


@each_file
def test_no_paths_of_one_machine(path):
    text = path.read_text()
    assert not re.findall(r"""(?<![\w.:/])/(?:home|root|work|tmp|usr|mnt|Users)/""", text)
    assert not re.findall(r"\b[A-Z]:\\\\", text)


@each_file
def test_nothing_is_left_for_later(path):
    assert not re.findall(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())


def test_public_names():
    tree = parsed(SOURCE / "__init__.py")
    docstring, *imports = tree.body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) for node in imports), "code in __init__.py"
    names = {alias.asname for node in imports for alias in node.names}
    assert names == PUBLIC and len(PUBLIC) <= 20
    assert all(hasattr(fcis, name) for name in PUBLIC)


def test_every_module_has_a_test_module():
    modules = {p.relative_to(SOURCE).as_posix() for p in FILES}
    # an __init__.py of a subpackage holds nothing but its docstring
    empty = {
        name for name in modules if "/" in name and name.endswith("/__init__.py")
        and len(parsed(SOURCE / name).body) == 1
    }  # fmt: skip
    missing = {
        name
        for name in modules - empty - UNTESTED.keys()
        if not (TESTS / name).with_name(f"test_{Path(name).name}").is_file()
    }
    assert not missing, f"no test module: {sorted(missing)}"
    assert UNTESTED.keys() <= modules, "an exception that is none"


def test_every_test_module_has_a_module():
    """Tests that mirror nothing would be looked for in the wrong place."""
    others = {
        "test_architecture.py",
        "test_docs.py",
        "test_learning_by_heart.py",
        "test_readme.py",
        "model/test_structure.py",
        "lab/benchmark/test_scripts.py",
        "gpu/test_scripts.py",
    }
    for path in sorted(TESTS.rglob("test_*.py")):
        name = path.relative_to(TESTS)
        source = (SOURCE / name).with_name(path.name.removeprefix("test_"))
        assert source.is_file() or name.as_posix() in others, name


def test_shapes_are_executed():
    """The test run checks every annotated call; a wrong shape does not get through."""
    from fcis.core.boxes import box_area
    from fcis.structures import Proposals

    assert box_area(torch.zeros(2, 4)).shape == (2,)
    with pytest.raises(jaxtyping.TypeCheckError):
        box_area(torch.zeros(2, 5))
    with pytest.raises(jaxtyping.TypeCheckError):
        box_area(torch.zeros(2, 4, dtype=torch.int64))
    good = {"boxes": torch.zeros(3, 4), "image_index": torch.zeros(3, dtype=torch.int64)}
    Proposals(**good, objectness=torch.zeros(3))
    with pytest.raises(jaxtyping.TypeCheckError):
        Proposals(**good, objectness=torch.zeros(2))
