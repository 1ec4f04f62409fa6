"""What an editor shows of a layer, which reads the source, is what runs.

The layers for one, two and three dimensions share documents, which are completed at import: their
constructors, too, must be where an editor looks for them.
"""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nn_layers as nn
from pytree_module import Module

SOURCES = Path(nn.__file__).parent
LAYERS = {
    n: c for n in nn.__all__ if isinstance(c := getattr(nn, n), type) and issubclass(c, Module)
}
VARIANTS = [name for name in LAYERS if name[-2:] in ("1d", "2d", "3d")]


def definitions() -> dict[str, tuple[Path, ast.ClassDef]]:
    """Each class of the distribution, where it is written."""
    return {
        node.name: (file, node)
        for file in SOURCES.rglob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef)
    }


DEFINITIONS = definitions()


@pytest.mark.parametrize("name", LAYERS)
def test_a_constructor_is_found_where_the_class_is_written(name: str):
    init: Any = vars(LAYERS[name]).get("__init__")
    file, written = DEFINITIONS[name]
    functions = {n.name: n for n in written.body if isinstance(n, ast.FunctionDef)}
    if "__init__" not in functions:  # inherited, or made from the fields
        assert name not in VARIANTS
        return
    assert inspect.getsourcefile(init) == str(file)
    assert inspect.getsource(init).lstrip().startswith("def __init__(")
    overloads = [n for n in written.body if isinstance(n, ast.FunctionDef)]
    lines = {min([n.lineno, *(d.lineno for d in n.decorator_list)]) for n in overloads}
    assert inspect.getsourcelines(init)[1] in lines
    assert init.__qualname__ == f"{name}.__init__"


@pytest.mark.parametrize("name", VARIANTS)
def test_the_written_signature_is_the_signature(name: str):
    (init,) = (n for n in DEFINITIONS[name][1].body if isinstance(n, ast.FunctionDef))
    arguments, defaults = init.args.args[1:], init.args.defaults
    written: dict[str, Any] = {a.arg: inspect.Parameter.empty for a in arguments}
    for argument, default in zip(
        arguments[len(arguments) - len(defaults) :], defaults, strict=True
    ):
        written[argument.arg] = ast.literal_eval(default)
    written |= {a.arg: inspect.Parameter.empty for a in init.args.kwonlyargs}
    parameters = inspect.signature(LAYERS[name]).parameters.values()
    assert {p.name: p.default for p in parameters} == written
    assert not any(hasattr(f, "__wrapped__") for f in vars(LAYERS[name]).values())


@pytest.mark.parametrize("name", VARIANTS)
def test_the_written_docstring_is_part_of_the_docstring(name: str):
    written, text = ast.get_docstring(DEFINITIONS[name][1]), inspect.getdoc(LAYERS[name])
    assert written and text
    paragraphs = text.split("\n\n")
    assert paragraphs[0] == written.split("\n\n")[0]
    places = [paragraphs.index(paragraph) for paragraph in written.split("\n\n")]
    assert places == sorted(places)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_says_all_that_the_general_layer_says(name: str):
    kind = name[:-2].replace("Avg", "").replace("Max", "")
    general = getattr(nn, kind)
    sections = inspect.getdoc(general).partition("**Shapes:**")[2].partition("!!! example")[0]
    text = inspect.getdoc(getattr(nn, name))
    fixed = {"init", "operation", "num_spatial_dims"}
    for paragraph in sections.split("\n\n")[1:]:
        for item in ("\n" + paragraph).split("\n- "):
            names = item.partition(":")[0].replace("`", "").split(", ")
            if set(names) <= fixed:
                assert f"- {item}" not in text
            else:
                assert item.strip("\n") in text


def test_python_without_docstrings_has_the_layers():
    program = "import nn_layers; print(nn_layers.Conv2d.__init__.__defaults__[0])"
    run = [sys.executable, "-OO", "-c", program]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "(1, 1)\n"
