"""The rules of what may import what, read from the source (design.md: the order of dependency)."""

import ast
import graphlib
import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A distribution may use those before it; the layers are free of run-time checks.
ORDER = ["tree_surgery", "pytree_module", "filtered_transforms", "runtime_checks", "nn_layers"]
MAY_USE = {name: set(ORDER[:i]) for i, name in enumerate(ORDER)} | {"equinoctial": set(ORDER)}
MAY_USE["nn_layers"] -= {"runtime_checks"}
COMES_WITH = {"numpy": "jax", "jaxlib": "jax"}  # JAX cannot be installed without these two
STDLIB = sys.stdlib_module_names | {"annotationlib"}  # since Python 3.14
# To type checkers it is of the standard library. When a program runs it may be missing.
FOR_CHECKERS = {"typing_extensions"}
LOADERS = {  # they import what is named by a table of another module, or by an object
    "tree_surgery._lazy",
    "pytree_module._functions_by_name",
}
UNSTABLE = re.compile(r"jax\.(_src|interpreters|extend|core)\b")

FOLDERS = {f.parent.name: f.parents[2] for f in sorted(ROOT.glob("packages/*/src/*/__init__.py"))}
MODULES = {  # dotted name -> (file, tree)
    re.sub(r"\.__init__$", "", ".".join(f.relative_to(p / "src").with_suffix("").parts)): (
        f,
        ast.parse(f.read_text()),
    )
    for p in FOLDERS.values()
    for f in sorted((p / "src").rglob("*.py"))
}


def imported(name: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in a module, at any depth; `from a import b` is a.b."""
    file, tree = MODULES[name]
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif name not in LOADERS and (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("import_module", "__import__"))
        ):
            yield from ((node.lineno, ast.literal_eval(arg)) for arg in node.args[:1])


def seen_by_checkers(tree: ast.Module) -> set[int]:
    """The lines that stand in `if TYPE_CHECKING:`."""
    blocks = [
        node.body
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {node.lineno for block in blocks for node in block}


@pytest.mark.parametrize("name", MODULES)
def test_uses_only_what_it_may(name: str):
    """Layer order, public names only, nothing undeclared, unstable JAX in `_jax.py` alone."""
    own = name.split(".")[0]
    project = tomllib.loads((FOLDERS[own] / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *chain(*project.get("optional-dependencies", {}).values()),
    ]
    declared = {re.match(r"[\w-]+", r).group().replace("-", "_") for r in requirements}
    wrong = []
    for line, target in imported(name):
        root, *rest = target.split(".")
        if root in FOR_CHECKERS and line in seen_by_checkers(MODULES[name][1]):
            continue
        if root in MAY_USE and root != own:
            if root not in MAY_USE[own]:
                wrong.append(f"line {line}: {own} may not use {root}")
            if any(re.match(r"_(?!_\w+__$)", part) for part in rest):
                wrong.append(f"line {line}: {target} is private to {root}")
        if root not in declared | {own, *STDLIB} and COMES_WITH.get(root) not in declared:
            wrong.append(
                f"line {line}: {root} is not declared in {FOLDERS[own].name}/pyproject.toml"
            )
        if UNSTABLE.match(target) and not name.endswith("._jax"):
            wrong.append(f"line {line}: {target} is unstable, and belongs in _jax.py")
    file, tree = MODULES[name]
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.Attribute)):
        if UNSTABLE.fullmatch(ast.unparse(node)) and not name.endswith("._jax"):
            wrong.append(f"line {node.lineno}: {ast.unparse(node)} belongs in _jax.py")
    assert not wrong, f"{file.relative_to(ROOT)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("own", FOLDERS)
def test_no_cycle(own: str):
    graph = {}
    for name in (m for m in MODULES if m.split(".")[0] == own):
        targets = {t if t in MODULES else t.rpartition(".")[0] for _, t in imported(name)}
        graph[name] = targets & MODULES.keys()
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_private_jax_is_rare():
    uses = [
        f"{f.relative_to(ROOT)}"
        for f, _ in MODULES.values()
        for _ in re.findall(r"jax\._src", f.read_text())
    ]
    assert len(uses) <= 5, uses


def test_the_peer_is_imported_by_comparisons_only():
    # By `benchmarks/` and `parity/`. Where the alias is at work, the name means ourselves.
    for file in (f for d in ("packages", "tests", "examples") for f in (ROOT / d).rglob("*.py")):
        if file.name in ("as_equinox.py", "test_as_equinox.py") or "ecosystem" in file.parts:
            continue
        assert not re.search(r"^\s*(import|from) equinox\b", file.read_text(), re.MULTILINE), file
