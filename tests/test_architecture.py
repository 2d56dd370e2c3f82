"""What holds for all of the code and no linter knows: rooms, sizes, tests, executed shapes.

Docstrings and annotations are ruff's, what must not be left in the code too.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import jaxtyping
import pytest
import torch

import fcis

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SOURCE = ROOT / "src" / "fcis"
FILES = sorted(SOURCE.rglob("*.py"))
ALL_FILES = [
    path
    for folder in ("src", "tests", "benchmarks", "gpu", "tools", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
MOST_FILE_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 400, 80, 8
MOST_ROOT_MODULES = 8

# What users may import from `fcis`; whoever changes this changes what others' code relies on.
PUBLIC = {
    "InputError",
    "Instances",
    "calibrate",
    "check_dataset",
    "describe",
    "evaluate",
    "load",
    "named_recipe",
    "open_dataset",
    "train",
}

# Modules without a test module of their own, each with the reason.
UNTESTED = {
    "__main__.py": "one call, made by the tests of the command",
    "__init__.py": "names alone, pinned below",
    "core/coco_types.py": "types alone, checked by pyright",
    "core/errors.py": "one exception without a body",
    "structures.py": "records whose shapes are executed by the tests of every stage",
}

# Tests of what is not one module.
OTHERS = {
    "earlier/test_earlier.py",
    "earlier/test_tables.py",
    "test_architecture.py",
    "test_docs.py",
    "test_learning_by_heart.py",
    "test_python_docs.py",
    "test_readme.py",
    "model/test_structure.py",
    "recipe/test_every_bound.py",
    "walks/test_walks.py",
    "lab/benchmark/test_scripts.py",
    "gpu/test_scripts.py",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions() -> Iterator[tuple[str, Function]]:
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, Function):
                yield f"{path.relative_to(SOURCE)}: {node.name}", node


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """Return the modules that one imports, those inside functions and for types included."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= whole & modules or {node.module}
    return (found & modules) - {module_of(path)}


def test_the_files_are_found():
    assert len(FILES) > 40
    assert Path(fcis.__file__) == SOURCE / "__init__.py"


def test_imports_point_to_lower_layers():
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_circle_of_imports():
    modules = {module_of(path) for path in FILES}
    graph = {module_of(path): imports_of(path, modules) for path in FILES}
    assert sum(map(len, graph.values())) > 500
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_few_modules_stand_at_the_root():
    at_the_root = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert len(at_the_root) <= MOST_ROOT_MODULES


def test_files_are_short():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ALL_FILES}
    long = {str(p.relative_to(ROOT)): n for p, n in lines.items() if n > MOST_FILE_LINES}
    assert not long


def test_functions_are_short():
    lengths = {name: node.end_lineno - node.lineno + 1 for name, node in functions()}
    assert not {name: n for name, n in lengths.items() if n > MOST_FUNCTION_LINES}


def test_constructors_take_few_parameters():
    counts = {
        name: len(node.args.args + node.args.kwonlyargs) - 1
        for name, node in functions()
        if node.name == "__init__"
    }
    assert not {name: n for name, n in counts.items() if n > MOST_PARAMETERS}


def test_no_paths_of_one_machine():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"""(?<![\w.:/])/(?:home|root|work|tmp|usr|mnt|Users)/""", text), path
        assert not re.findall(r"\b[A-Z]:\\\\", text), path


def test_public_names():
    tree = parsed(SOURCE / "__init__.py")
    docstring, *imports = tree.body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) for node in imports), "code in __init__.py"
    names = {alias.asname for node in imports for alias in node.names}
    assert names == PUBLIC and len(PUBLIC) <= 20
    assert all(hasattr(fcis, name) for name in PUBLIC)


def mirrors_of(module: str) -> list[Path]:
    """Return the test modules of a module: `test_NAME.py`, and `test_NAME_WHAT.py` of parts."""
    folder, stem = (TESTS / module).parent, Path(module).stem
    return [*folder.glob(f"test_{stem}.py"), *folder.glob(f"test_{stem}_*.py")]


def test_every_module_has_a_test_module():
    modules = {p.relative_to(SOURCE).as_posix() for p in FILES}
    # an __init__.py of a subpackage holds nothing but its docstring
    empty = {
        name for name in modules if "/" in name and name.endswith("/__init__.py")
        and len(parsed(SOURCE / name).body) == 1
    }  # fmt: skip
    missing = {name for name in modules - empty - UNTESTED.keys() if not mirrors_of(name)}
    assert not missing, f"no test module: {sorted(missing)}"
    assert UNTESTED.keys() <= modules, "an exception that is none"


def test_every_test_module_has_a_module():
    """Tests that mirror nothing would be looked for in the wrong place."""
    mirrored = {test for path in FILES for test in mirrors_of(path.relative_to(SOURCE).as_posix())}
    lonely = {
        path.relative_to(TESTS).as_posix()
        for path in set(TESTS.rglob("test_*.py")) - mirrored
    }  # fmt: skip
    assert lonely == OTHERS


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


def test_every_picture_is_opened_as_one_of_named_formats():
    """Pillow opens formats that start programs, such as EPS."""
    unnamed = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("Image.open")
        and "formats" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not unnamed
