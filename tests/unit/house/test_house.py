"""Rules of the house that no other tool checks."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import agents

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("domain", "persistence", "agents", "flows", "deployments", "api")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
# Names that say nothing about what is inside, and so collect everything.
EMPTY_NAMES = frozenset({"utils", "util", "helpers", "helper", "manager", "base", "misc", "common"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def functions() -> Iterator[tuple[Path, Function]]:
    for path in python_files(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield path, node


def place(path: Path, node: Function) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def imported_packages(node: ast.stmt) -> set[str]:
    match node:
        case ast.Import(names=names):
            return {name.name.split(".")[0] for name in names}
        case ast.ImportFrom(module=str(module)):
            return {module.split(".")[0]}
        case _:
            return set()


def locked_versions() -> dict[str, str]:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    return {package["name"]: package.get("version", "") for package in lock["package"]}


def test_files_stay_short():
    files = python_files(*PACKAGES, "tests", "benchmarks")
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {
        str(path.relative_to(ROOT)) for path in lengths if lengths[path] > MAX_FILE_LINES
    } == set()


def test_functions_stay_short():
    lengths = {
        place(path, node): (node.end_lineno or 0) - node.lineno + 1 for path, node in functions()
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_ours_is_imported_at_the_top_only():
    inside = {
        place(path, function)
        for path, function in functions()
        for node in ast.walk(function)
        if isinstance(node, ast.stmt) and imported_packages(node) & set(PACKAGES)
    }
    assert inside == set()


def test_names_of_files_say_what_is_inside():
    names = {
        str(path.relative_to(ROOT)) for path in python_files(*PACKAGES) if path.stem in EMPTY_NAMES
    }
    assert names == set()


def test_every_file_begins_by_saying_what_it_is_for():
    silent = {
        str(path.relative_to(ROOT))
        for path in python_files(*PACKAGES)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert silent == set()


def test_the_import_name_agents_is_ours():
    assert Path(str(agents.__file__)).is_relative_to(ROOT / "agents")


def test_the_package_that_would_take_the_name_agents_is_not_locked():
    assert "openai-agents" not in locked_versions()


@pytest.mark.parametrize(
    ("package", "allowed"),
    [("prefect", "==3.8.8"), ("fastapi", ">=0.139,<0.151"), ("sqlalchemy", ">=2.0,<2.1")],
)
def test_the_lock_keeps_the_versions_that_prefect_needs(package: str, allowed: str):
    assert locked_versions()[package] in SpecifierSet(allowed)
