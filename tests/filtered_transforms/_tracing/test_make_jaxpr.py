"""`filter_make_jaxpr`, against `jax.make_jaxpr` on the arrays alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module, Partial

X = jnp.linspace(0.5, 2.0, 3)


def test_make_jaxpr():
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    for x in (X, shape):
        jaxpr, shapes, rest = ft.filter_make_jaxpr(lambda x, s: (x * 2, s))(x, "s")
        assert [str(e.primitive) for e in jaxpr.eqns] == ["mul"]
        assert shapes == (shape, None) and rest == (None, "s")


class Affine(Module):
    weight: Any
    bias: Any
    unused: Any
    name: str = "affine"

    def __call__(self, x: Any, *, scale: Any = 1.0) -> Any:
        return {"y": (self.weight @ x + self.bias) * scale, "name": self.name}


AFFINE = Affine(jnp.arange(6.0).reshape(2, 3), jnp.ones(2), jnp.ones(9))
OF_AFFINE: dict[str, Callable[..., Any]] = {
    "a module": AFFINE,
    "a method": AFFINE.__call__,
    "a partial": Partial(lambda m, x, **kw: m(x, **kw), AFFINE),
    "a jitted module": ft.filter_jit(AFFINE),
    "a closure": lambda x, **kwargs: AFFINE(x, **kwargs),
}


@pytest.mark.parametrize("name", OF_AFFINE)
def test_arrays_of_a_function_are_constants_of_its_jaxpr(name: str):
    f = OF_AFFINE[name]
    for kwargs in ({}, {"scale": 2.0}, {"scale": jnp.array([2.0, 3.0])}):
        for x in (X, jax.ShapeDtypeStruct((3,), jnp.float32)):
            jaxpr, shapes, rest = ft.filter_make_jaxpr(f)(x, **kwargs)
            assert shapes["y"] == jax.ShapeDtypeStruct((2,), jnp.float32)
            assert rest == {"y": None, "name": "affine"}
        arrays = [leaf for leaf in kwargs.values() if ft.is_array(leaf)]
        assert len(jaxpr.in_avals) == 1 + len(arrays)
        if name != "a jitted module":  # there, they are arguments of the inner function
            assert {id(c) for c in jaxpr.consts} == {id(AFFINE.weight), id(AFFINE.bias)}
        (y,) = jax.extend.core.jaxpr_as_fun(jaxpr)(X, *arrays)
        np.testing.assert_array_equal(y, f(X, **kwargs)["y"])
