"""Constructors and frozen attributes are bypassed in a few places, each with a reason."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PERMITTED = {
    "pytree_module/_bare_instance.py": "what `module_from_fields` and construction are built on",
    "tree_surgery/_edit/tree_replace.py": "copies of dataclasses that are no modules",
    "tree_surgery/_show/layout.py": "documents of wadler-lindig are frozen, and hold a cache",
    "nn_layers/_state/state.py": "a `State` refuses to be made by its users",
}

_BYPASSES = ("object.__new__", "object.__setattr__")


def bypasses(tree: ast.AST) -> list[int]:
    """The lines that call `object.__new__`, `object.__setattr__` or `cls.__new__(cls)`."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.value) in _BYPASSES:
            found.append(node.lineno)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            own = called == "cls.__new__" and [ast.unparse(x) for x in node.args] == ["cls"]
            if own or called in _BYPASSES:
                found.append(node.lineno)
    return found


def test_constructors_are_bypassed_only_where_it_is_said_why():
    there = {
        file.relative_to(source).as_posix()
        for source in ROOT.glob("packages/*/src")
        for file in source.rglob("*.py")
        if bypasses(ast.parse(file.read_text()))
    }
    assert there == PERMITTED.keys()
