"""The rules of what may import what, read from the source (docs/architecture.toml states them)."""

import ast
import functools
import graphlib
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("docs_imports", ROOT / "docs" / "imports.py")
drawn = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = drawn  # where `dataclass` looks for annotations
_spec.loader.exec_module(drawn)

RULES, MAY_USE = drawn.RULES, drawn.MAY_USE
# JAX cannot be installed without NumPy and jaxlib. `orbax` is a namespace of several distributions.
COMES_WITH = {"numpy": "jax", "jaxlib": "jax", "orbax": "orbax_checkpoint"}
STDLIB = sys.stdlib_module_names | {"annotationlib"}  # since Python 3.14
# To type checkers it is of the standard library. When a program runs it may be missing.
FOR_CHECKERS = {"typing_extensions"}
UNSTABLE = re.compile(r"jax\.(_src|interpreters|extend|core)\b")

PROJECTS = {f.parent.name: f.parents[2] for f in sorted(ROOT.glob("packages/*/src/*/__init__.py"))}
SOURCES = drawn.sources()


def seen_by_checkers(tree: ast.Module) -> set[int]:
    """The lines that stand in `if TYPE_CHECKING:`."""
    blocks = [
        node.body
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {node.lineno for block in blocks for node in block}


@functools.cache
def declared(own: str) -> set[str]:
    """What the distribution requires, extras included."""
    project = tomllib.loads((PROJECTS[own] / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *chain(*project.get("optional-dependencies", {}).values()),
    ]
    return {re.match(r"[\w-]+", r).group().replace("-", "_") for r in requirements}


def faults_of_import(own: str, root: str, rest: list[str]) -> Iterator[str]:
    """What is wrong if `own` imports `root.rest`, whatever the file."""
    target = ".".join([root, *rest])
    if root in MAY_USE and root != own:
        if root not in MAY_USE[own]:
            yield f"{own} may not use {root}"
        if any(re.match(r"_(?!_\w+__$)", part) for part in rest):
            yield f"{target} is private to {root}"
    required = declared(own)
    if root not in required | {own, *STDLIB} and COMES_WITH.get(root) not in required:
        yield f"{root} is not declared in {PROJECTS[own].name}/pyproject.toml"


@pytest.mark.parametrize("name", SOURCES)
def test_uses_only_what_it_may(name: str):
    """Order of distributions, public names only, nothing undeclared, unstable JAX in `_jax`."""
    source, own = SOURCES[name], name.split(".")[0]
    wrong = []
    for node, target in source.imports():
        root, *rest = target.split(".")
        if root in FOR_CHECKERS and node.lineno in seen_by_checkers(source.tree):
            continue
        wrong += [f"line {node.lineno}: {fault}" for fault in faults_of_import(own, root, rest)]
        if UNSTABLE.match(target) and source.folder != "_jax":
            wrong.append(f"line {node.lineno}: {target} is unstable, and belongs in _jax")
    for node in (n for n in ast.walk(source.tree) if isinstance(n, ast.Attribute)):
        if UNSTABLE.fullmatch(ast.unparse(node)) and source.folder != "_jax":
            wrong.append(f"line {node.lineno}: {ast.unparse(node)} belongs in _jax")
    assert not wrong, f"{source.file.relative_to(ROOT)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("own", drawn.ORDER)
def test_each_folder_has_its_place_in_the_order(own: str):
    stated = [*RULES[own]["leaves"], *RULES[own]["folders"]]
    there = {source.folder for name, source in SOURCES.items() if name.split(".")[0] == own}
    assert len(stated) == len(set(stated))
    assert set(stated) == there - {*drawn.FRONT}, "docs/architecture.toml lists every folder"


@pytest.mark.parametrize("own", drawn.ORDER)
def test_no_folder_imports_a_later_one(own: str):
    stated = [*RULES[own]["leaves"], *RULES[own]["folders"]]
    place = {folder: i for i, folder in enumerate(stated)}
    upward = [
        f"{name} imports {target}"
        for name, targets in drawn.file_graph(own, SOURCES).items()
        for target in sorted(targets)
        if place[SOURCES[target].folder] > place[SOURCES[name].folder]
    ]
    assert not upward, "\n".join(upward)


@pytest.mark.parametrize("name", SOURCES)
def test_private_files_are_reached_in_one_way(name: str):
    """Inside a folder by `from .file`, across folders by the full name, never by the front."""
    source, own = SOURCES[name], name.split(".")[0]
    if source.folder in drawn.FRONT:
        return
    wrong = []
    for node, target in source.imports():
        parts = target.split(".")
        if parts[0] != own:
            continue
        is_relative = isinstance(node, ast.ImportFrom) and node.level > 0
        if len(parts) == 1 or parts[1] in drawn.FRONT or f"{own}.{parts[1]}" not in SOURCES:
            wrong.append(f"line {node.lineno}: {target} is imported by way of the front")
        elif is_relative != (parts[: len(source.package)] == source.package):
            how = "by its full name" if is_relative else "by `from .`"
            wrong.append(f"line {node.lineno}: {target} is to be imported {how}")
    assert not wrong, f"{source.file.relative_to(ROOT)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("own", drawn.ORDER)
def test_no_cycle_and_no_more_floors_than_stated(own: str):
    # Of files and of folders. `floors` raises CycleError, which names the cycle.
    files, folders = drawn.file_graph(own, SOURCES), drawn.folder_graph(own, SOURCES)
    for what, graph in (("files", files), ("folders", folders)):
        height, stated = drawn.floors(graph), RULES[own]["floors"][what]
        highest = max(height, key=height.__getitem__)
        assert height[highest] <= stated, f"{highest} is on floor {height[highest]} of {what}"


def test_no_cycle_among_all_files():
    # The fronts included, and all distributions at once.
    graph = {}
    for name, source in SOURCES.items():
        targets = {t if t in SOURCES else t.rpartition(".")[0] for _, t in source.imports()}
        graph[name] = targets & SOURCES.keys() - {name}
    graphlib.TopologicalSorter(graph).prepare()


def test_floors_and_arrows_of_a_small_graph():
    graph = {"roof": {"hall", "cellar"}, "hall": {"cellar"}, "shed": set(), "cellar": set()}
    assert drawn.floors(graph) == {"roof": 3, "hall": 2, "shed": 1, "cellar": 1}
    assert drawn.reduced(graph) == graph | {"roof": {"hall"}}
    with pytest.raises(graphlib.CycleError):
        drawn.floors(graph | {"cellar": {"roof"}})


def test_imports_are_seen_wherever_they_stand(tmp_path: Path):
    folder = tmp_path / "packages/own/src/own/_folder"
    folder.mkdir(parents=True)
    for file in (folder.parent / "__init__.py", folder / "__init__.py", folder / "b.py"):
        file.write_text("")
    (folder / "a.py").write_text(
        "import os.path\nfrom . import b\nfrom .b import name\nfrom own._other import x\n"
        "def f():\n    import inside\nif TYPE_CHECKING:\n    import checked\n"
        "importlib.import_module('dynamic')\n"
    )
    every = drawn.sources(tmp_path)
    assert {target for _, target in every["own._folder.a"].imports()} == {
        *("os.path", "own._folder.b", "own._folder.b.name", "own._other.x"),
        *("inside", "checked", "dynamic"),
    }
    assert drawn.file_graph("own", every)["own._folder.a"] == {"own._folder.b"}


def test_the_order_names_every_distribution():
    assert set(drawn.ORDER) == {name.split(".")[0] for name in SOURCES}
    assert MAY_USE["nn_layers"] == {"tree_surgery", "pytree_module", "filtered_transforms"}


def test_private_jax_is_rare():
    uses = [
        f"{source.file.relative_to(ROOT)}"
        for source in SOURCES.values()
        for _ in re.findall(r"jax\._src", source.file.read_text())
    ]
    assert len(uses) <= 5, uses


def test_the_peer_is_imported_by_comparisons_only():
    # By `benchmarks/` and `parity/`. Where the alias is at work, the name means ourselves.
    for file in (f for d in ("packages", "tests", "examples") for f in (ROOT / d).rglob("*.py")):
        if file.name in ("as_equinox.py", "test_as_equinox.py") or "ecosystem" in file.parts:
            continue
        assert not re.search(r"^\s*(import|from) equinox\b", file.read_text(), re.MULTILINE), file
