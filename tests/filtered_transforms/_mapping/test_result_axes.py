"""What `filter_vmap` relies on in JAX: `out_axes` is read after the function has been traced."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft

X = jnp.arange(6.0).reshape(2, 3)


# The trick of `_mapping/result_axes.py`. Where this fails, `filter_vmap` needs another way.
@pytest.mark.parametrize("jitted", [False, True])
def test_jax_reads_out_axes_after_the_trace(jitted: bool):
    out_axes: list[Any] = []

    def f(x: Any) -> list[Any]:
        out_axes[:] = [1, None]
        return [x, jnp.ones(4)]

    batched = jax.vmap(f, out_axes=out_axes)
    turned, same = (jax.jit(batched) if jitted else batched)(X)
    np.testing.assert_array_equal(turned, X.T)
    assert same.shape == (4,)


def test_the_function_is_traced_once():
    traced: list[int] = []

    def f(x: Any) -> Any:
        traced.append(1)
        return x, "name"

    out, name = ft.filter_vmap(f, out_axes=lambda leaf: 1 if ft.is_array(leaf) else None)(X)
    assert traced == [1] and name == "name"
    np.testing.assert_array_equal(out, X.T)
