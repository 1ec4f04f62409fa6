"""How JAX writes equations is known to `_jax` alone: others read them by `extend.Equation`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWNED = {"eqns", "invars", "outvars", "constvars"}  # of jaxprs and equations
CLASSES = {"ClosedJaxpr", "DropVar", "Jaxpr", "JaxprEqn", "Literal", "Var"}  # of JAX's
FILES = [
    file
    for file in sorted(ROOT.glob("packages/*/src/**/*.py"))
    if "_jax" not in (file.stem, file.parent.name)
]


def reads(tree: ast.AST) -> list[str]:
    """Where a module reads what belongs to jaxprs and equations."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            within = isinstance(node.value, ast.Attribute) and node.value.attr == "jaxpr"
            if node.attr in OWNED or within:
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.Compare):
            # `type(v).__name__ == "DropVar"`; `Literal` of `typing` is no string.
            sides = [node.left, *node.comparators]
            names = {side.value for side in sides if isinstance(side, ast.Constant)}
            if names & CLASSES:
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            names = {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
            if names & OWNED:
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_jax_reads_equations(file: Path):
    assert not reads(ast.parse(file.read_text()))


@pytest.mark.parametrize(
    "code",
    [
        "jaxpr.eqns",
        "eqn.invars[0]",
        "closed.jaxpr.effects",
        'type(v).__name__ != "DropVar"',
        'getattr(jaxpr, "constvars", ())',
    ],
)
def test_it_would_be_found(code: str):
    assert len(reads(ast.parse(code))) == 1
