"""Every example in a docstring of a public name runs."""

import inspect
import re
import textwrap

import pytest

import tree_surgery

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
WITHOUT = {"SerialiseError", "WhereError", "tree_pprint", "tree_deserialise_leaves"} | {
    "default_serialise_filter_spec",
    "default_deserialise_filter_spec",
}


@pytest.mark.parametrize("name", sorted(set(tree_surgery.__all__) - WITHOUT))
def test_examples_run(name):
    blocks = BLOCK.findall(inspect.getdoc(getattr(tree_surgery, name)) or "")
    assert blocks, f"{name} has no example"
    for block in blocks:
        exec(compile(textwrap.dedent(block), f"<docstring of {name}>", "exec"), {})
