"""Every example in a docstring of a public name runs."""

import inspect
import re
import textwrap

import pytest

import tree_surgery
import tree_surgery.extend

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
WITHOUT = {"SerialiseError", "WhereError", "tree_pprint", "tree_deserialise_leaves"} | {
    "default_serialise_filter_spec",
    "default_deserialise_filter_spec",
}


@pytest.mark.parametrize("name", sorted(set(tree_surgery.__all__) - WITHOUT))
def test_examples_run(name):
    check(name, getattr(tree_surgery, name))


@pytest.mark.parametrize("name", ["Difference", "first_difference"])
def test_examples_for_authors_run(name):
    check(name, getattr(tree_surgery.extend, name))


def check(name, value):
    blocks = BLOCK.findall(inspect.getdoc(value) or "")
    assert blocks, f"{name} has no example"
    for block in blocks:
        exec(compile(textwrap.dedent(block), f"<docstring of {name}>", "exec"), {})
