"""`apply_updates`: sums, and messages that name the path."""

import dataclasses as dc
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest

from tree_surgery import apply_updates


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any = None


def test_apply_updates():
    model = {"w": jnp.arange(2.0), "n": 1, "f": jnp.sin, "none": None, "sub": (1.0, [2.0])}
    updates = {"w": jnp.ones(2), "n": 2, "f": None, "none": None, "sub": None}
    new = apply_updates(model, updates)
    assert new["w"].tolist() == [1.0, 2.0]
    assert {k: new[k] for k in ("n", "f", "none", "sub")} == {
        "n": 3,
        "f": jnp.sin,
        "none": None,
        "sub": (1.0, [2.0]),
    }


def test_apply_updates_under_jit_and_grad():
    model = Layer(jnp.arange(3.0), jnp.array(2.0))

    def loss(model):
        return jnp.sum(model.weight**2) + model.bias**2

    @jax.jit
    def step(model):
        return apply_updates(model, jax.tree.map(lambda g: -0.25 * g, jax.grad(loss)(model)))

    new = step(model)
    np.testing.assert_allclose(new.weight, 0.5 * np.arange(3.0))
    np.testing.assert_allclose(new.bias, 1.0)


@pytest.mark.parametrize(
    ("model", "updates", "message"),
    [
        ({"a": [None]}, {"a": [1.0]}, r"`\['a'\]\[0\]`.*`None`"),
        ({"a": np.ones(2)}, {"a": np.ones((3, 2))}, r"shape of `\['a'\]`.*\(2,\).*\(3, 2\)"),
        (
            {"a": 1.0},
            {"a": 1.0, "b": 2.0},
            r"at `<root>` the model has \['a'\], .*\['a'\], \['b'\]",
        ),
        ({"a": [1.0, 2.0]}, {"a": [1.0]}, r"at `\['a'\]` the model has \[0\], \[1\], and .* \[0\]"),
        ({"a": [1.0, [2.0]]}, {"a": [None, 1.0]}, r"`\['a'\]\[1\]` .* `list`.* `float`"),
        ({"a": [1.0, [2.0]]}, {"a": [None, np.ones(1)]}, r"`\['a'\]\[1\]` .* `list`.* `ndarray`"),
        ({"a": [1.0, (2.0,)]}, {"a": [None, [1.0]]}, r"`\['a'\]\[1\]` .* `tuple`.* `list`"),
        ({"a": 1.0}, {"a": [1.0]}, r"`\['a'\]` the model has a `float`, and the updates a `list`"),
        (Layer(1.0, 2.0), {"w": 1.0}, "`<root>` the model has a `Layer`, and the updates a `dict`"),
    ],
)
def test_apply_updates_errors(model, updates, message):
    with pytest.raises(ValueError, match=message):
        apply_updates(model, updates)


def test_shapes_of_updates_that_cannot_be_added():
    with pytest.raises(TypeError, match="shapes") as info:
        apply_updates({"a": jnp.ones(2), "b": jnp.ones(2)}, {"a": None, "b": jnp.ones(3)})
    assert "the update of `['b']`" in info.value.__notes__[-1]
