"""How JAX writes programs is known to `_jax` alone: others read them by `extend.Equation`.

That is, what belongs to jaxprs, equations and their parameters; to symbolic zeros and undefined
operands, which the rules of primitives are given; and what JAX writes into named scopes.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWNED = {"eqns", "invars", "outvars", "constvars"}  # of jaxprs and equations
OWNED |= {"params", "effects"}
OWNED |= {"aval"}  # of variables, symbolic zeros, undefined operands
CLASSES = {"ClosedJaxpr", "DropVar", "Jaxpr", "JaxprEqn", "Literal", "Var"}  # of JAX's
# Parameters of primitives that are defined here, not by JAX: `runtime_checks._check.primitive`.
OUR_PARAMETERS = {"check"}
EXCEPTIONS = {
    # Of a `jax.Array`, not of what stands in a program. Modules are compared in each call of
    # `filter_jit`, and `jax.typeof` takes longer.
    ("packages/pytree-module/src/pytree_module/_value_equality.py", "x.aval"),
    ("packages/pytree-module/src/pytree_module/_value_equality.py", "y.aval"),
}
FILES = [
    file
    for file in sorted(ROOT.glob("packages/*/src/**/*.py"))
    if "_jax" not in (file.stem, file.parent.name)
]


def permitted(tree: ast.AST) -> Iterator[ast.AST]:
    """Parameters that are handed on as a whole, unread, and those of our own primitives."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):  # `equation.bind(inputs, **equation.params)`
            yield from (keyword.value for keyword in node.keywords if keyword.arg is None)
        elif isinstance(node, ast.Subscript) and names_in([node.slice]) & OUR_PARAMETERS:
            yield node.value


def names_in(nodes: list[ast.expr]) -> set[object]:
    return {node.value for node in nodes if isinstance(node, ast.Constant)}


def is_read(node: ast.AST) -> bool:
    """Whether what belongs to jaxprs and equations is read here."""
    if isinstance(node, ast.Attribute):
        within = isinstance(node.value, ast.Attribute) and node.value.attr == "jaxpr"
        return node.attr in OWNED or within
    if isinstance(node, ast.Compare):
        # `type(v).__name__ == "DropVar"`; `Literal` of `typing` is no string.
        if names_in([node.left, *node.comparators]) & CLASSES:
            return True
        # `"jvp(" in equation.scope`
        searched = [s for s in node.comparators if isinstance(s, ast.Attribute)]
        is_search = any(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops)
        return is_search and any(s.attr == "scope" for s in searched)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
        return bool(names_in(node.args) & OWNED)
    return False


def reads(tree: ast.AST) -> list[tuple[int, str]]:
    """Where a module reads what belongs to jaxprs and equations: lines, and what is there."""
    allowed = {id(node) for node in permitted(tree)}
    found = [node for node in ast.walk(tree) if is_read(node) and id(node) not in allowed]
    return [(node.lineno, ast.unparse(node)) for node in found]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_jax_reads_equations(file: Path):
    name = file.relative_to(ROOT).as_posix()
    found = reads(ast.parse(file.read_text()))
    assert not [(line, code) for line, code in found if (name, code) not in EXCEPTIONS]


def test_exceptions_are_needed():
    for name, code in EXCEPTIONS:
        assert code in {found for _, found in reads(ast.parse((ROOT / name).read_text()))}


@pytest.mark.parametrize(
    "code",
    [
        "jaxpr.eqns",
        "eqn.invars[0]",
        "closed.jaxpr.consts",
        'type(v).__name__ != "DropVar"',
        'getattr(jaxpr, "constvars", ())',
        'equation.params["jaxpr"]',
        'equation.params.get("branches_platforms")',
        "params = equation.params",
        "read(equation.params)",
        "closed.effects",
        "Zero(x.aval)",
        'hasattr(x, "aval")',
        'by_hand and "jvp(" not in equation.scope',
    ],
)
def test_it_would_be_found(code: str):
    assert len(reads(ast.parse(code))) == 1


@pytest.mark.parametrize(
    "code", ["run(*inputs, **equation.params)", 'equation.params["check"]', "scope in scopes"]
)
def test_it_would_not_be_found(code: str):
    assert not reads(ast.parse(code))
