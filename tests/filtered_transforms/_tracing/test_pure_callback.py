"""`filter_pure_callback`: a function of Python's that a program calls."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(3.0) + 1
V = jnp.array([2.0, -1.0, 0.5])


class Model(Module):
    weight: jax.Array
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.activation(self.weight * x)


def equal(x: Any, y: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, x, y)


def on_host(x: Any, name: Any, *, scale: Any) -> Any:
    return {"y": np.sin(np.asarray(x)) * scale, "name": name, "n": 2.0}


def call(x: Any, **options: Any) -> Any:
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    n = jax.ShapeDtypeStruct((), x.dtype)
    out = {"y": shape, "name": "s", "n": n}
    return ft.filter_pure_callback(
        on_host, x, "s", scale=np.float32(2), result_shape_dtypes=out, **options
    )


def test_pure_callback():
    expected = np.sin(np.asarray(X)) * np.float32(2)
    for wrap in (lambda f: f, ft.filter_jit):
        out = wrap(call)(X)
        equal(out["y"], expected)
        assert out["name"] == "s" and out["n"] == 2.0
        out = wrap(lambda m: ft.filter_pure_callback(Model.__call__, m, X, result_shape_dtypes=X))(
            Model(V)
        )
        np.testing.assert_allclose(out, Model(V)(X), rtol=1e-6)
    for options in ({"vmap_method": "sequential"}, {"vectorized": False}):
        out = ft.filter_vmap(partial(call, **options))(jnp.stack([X, V]))
        equal(out["y"], np.sin(np.stack([X, V])) * np.float32(2))


def test_pure_callback_errors():
    shapes = {"y": X, "name": "other", "n": X[0]}
    with pytest.raises(Exception, match=r"At \['name'\] it should be 'other', .*returned 's'"):
        ft.filter_pure_callback(on_host, X, "s", scale=1, result_shape_dtypes=shapes)
    with pytest.raises(Exception, match=r"At \['y'\] it should be an array float32\[3\]"):
        ft.filter_pure_callback(lambda x: {"y": "s"}, X, result_shape_dtypes={"y": X})
    with pytest.raises(Exception, match=r"At <root>"):
        ft.filter_pure_callback(lambda x: [x], X, result_shape_dtypes=X)
    with pytest.raises(ValueError, match="give one of them"):
        call(X, vectorized=True, vmap_method="sequential")
