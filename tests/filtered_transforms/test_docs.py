"""The examples in the docstrings run."""

import inspect
import re

import pytest

import filtered_transforms as ft
from filtered_transforms import extend

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAMES = [(ft, name) for name in ft.__all__] + [
    (extend, name) for name in extend.__all__ if callable(getattr(extend, name))
]  # primitives and tables carry no text


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda x: x if isinstance(x, str) else "")
def test_examples_run(module: object, name: str):
    for block in BLOCK.findall(inspect.getdoc(getattr(module, name)) or ""):
        exec(compile(block, f"<example of {name}>", "exec"), {"__name__": "example"})


def test_most_have_an_example():
    without = [n for m, n in NAMES if "```python" not in (getattr(m, n).__doc__ or "")]
    see_others = {"Carried", "filter_hessian", "hashable_combine", "register_check", "set_raise_if"}
    see_others |= {n for n in without if n.startswith(("finalise_", "filter_primitive_"))}
    see_others |= {"create_vprim", "to_onnx"}  # that of the latter needs a converter
    see_others |= {n for n in without if n.startswith("Inner")}  # that of `inner_programs`
    see_others |= {"equations", "is_dropped", "is_literal", "jaxpr_output_types", "retrace"}
    assert set(without) <= see_others
