"""The example of each name in `nn_layers.extend` runs."""

import inspect
import re

import pytest

from nn_layers import extend


@pytest.mark.parametrize("name", extend.__all__)
def test_example(name):
    blocks = re.findall(r"```python\n(.*?)```", inspect.getdoc(getattr(extend, name)), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
