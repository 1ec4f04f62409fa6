"""Where tests stand and what they may do: a folder of tests for each of sources, short files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
LONGEST = 500  # lines; a longer file is split by behaviour
SOURCES = {f.parent.name: f.parent for f in ROOT.glob("packages/*/src/*/__init__.py")}
# `tests/meta` is that of the folder `packages/meta`, whose package has another name.
OF_ONE = {("meta" if name == "equinoctial" else name): source for name, source in SOURCES.items()}
# What spans distributions, or runs in an environment of its own. CONTRIBUTING.md describes each.
OTHERS = {"ecosystem", "integration", "isolation", "lint", "oracle", "typing"}


def folders(of: Path) -> set[str]:
    names = {p.name for p in of.iterdir() if p.is_dir() and not p.name.startswith(".")}
    return names - {"__pycache__", "data"}


def test_each_distribution_has_its_tests():
    assert folders(TESTS) == {*OF_ONE, *OTHERS}


@pytest.mark.parametrize("name", OF_ONE)
def test_folders_of_tests_are_those_of_the_sources(name: str):
    assert folders(TESTS / name) <= folders(OF_ONE[name])


def test_no_file_is_too_long():
    lengths = {file: len(file.read_text().splitlines()) for file in TESTS.rglob("test_*.py")}
    assert not {str(file.relative_to(TESTS)): n for file, n in lengths.items() if n > LONGEST}


def private_names(tree: ast.AST) -> list[str]:
    """Modules and attributes with a leading underscore that do not belong to the file itself."""
    own = {n.name for n in ast.walk(tree) if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            found.append(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", "patch")):
            found += [a.value for a in node.args if isinstance(a, ast.Constant) and a.value]
    parts = {part for name in found if isinstance(name, str) for part in name.split(".")}
    return sorted(p for p in parts - own if p.startswith("_") and not p.startswith("__"))


@pytest.mark.parametrize(
    "file", sorted(TESTS.rglob("conftest.py")), ids=lambda file: str(file.relative_to(TESTS))
)
def test_no_conftest_patches_a_private_name(file: Path):
    # A test whose fixture reaches into a private file breaks when that file is moved, and says
    # nothing about what a user can do.
    assert not private_names(ast.parse(file.read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "from filtered_transforms._reverse_loops import checkpointed",
        "import filtered_transforms._jax",
        "monkeypatch.setattr(module, '_LARGE', 1)",
        "mock.patch('filtered_transforms._jit.options.JitOptions')",
        "module._LARGE = 1",
    ],
)
def test_a_private_name_is_seen(line: str):
    assert private_names(ast.parse(line))
