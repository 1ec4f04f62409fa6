"""`trace`, `lower` and `compile` of a function of `filter_jit`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(3.0)


class Scale(Module):
    weight: jax.Array
    name: str = "scale"

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x

    def named(self, x: jax.Array) -> tuple[jax.Array, str]:
        return self.weight * x, self.name


# https://github.com/patrick-kidger/equinox/issues/325
# https://github.com/patrick-kidger/equinox/issues/625
def test_lower_and_compile():
    @ft.filter_jit
    def f(model: Scale, x: jax.Array, *, n: int = 1, y: Any = None) -> Any:
        return model(x) * n, n

    lowered = f.lower(Scale(X), X, n=2)
    assert "stablehlo" in lowered.as_text() or "mhlo" in lowered.as_text()
    assert lowered.out_info == (jax.ShapeDtypeStruct((3,), jnp.float32), 2)
    compiled = lowered.compile()
    out, n = compiled(Scale(X + 1), X, n=2)
    np.testing.assert_array_equal(out, (X + 1) * X * 2)
    assert n == 2
    assert compiled.cost_analysis() is not None and compiled.memory_analysis() is not None
    assert "HloModule" in compiled.as_text()
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    abstract = f.lower(Scale(shape), shape, n=2).compile()
    np.testing.assert_array_equal(abstract(Scale(X), X, n=2)[0], X * X * 2)
    assert f.trace(Scale(X), X).jaxpr.jaxpr.eqns
    with pytest.raises(TypeError, match=r"kwargs\['n'\] it was 2, got 3"):
        compiled(Scale(X), X, n=3)
    found = r"structure for which it was lowered\. At kwargs it was {'n': a leaf}, got {}"
    with pytest.raises(TypeError, match=found):
        compiled(Scale(X), X)
    with pytest.raises(TypeError, match=r"At args\[0\] it was Scale\(.*, got an array float"):
        compiled(X, X, n=2)


@pytest.mark.parametrize("with_static", [False, True])
def test_a_program_compiled_ahead_of_time_is_not_compiled_again_by_a_call(
    with_static: bool, caplog: pytest.LogCaptureFixture
):
    @ft.filter_jit
    def once_compiled(x: jax.Array, *more: Any) -> Any:
        return jnp.sin(x), (more, "text")

    args = (X, 3) if with_static else (X,)

    def compiled() -> int:
        lines = [r.getMessage() for r in caplog.records]
        return sum("Compiling" in line and "once_compiled" in line for line in lines)

    with jax.log_compiles(True):
        program = once_compiled.lower(*args).compile()
        assert compiled() == 1
        out, (more, text) = once_compiled(*args)
        assert compiled() == 1
    assert (more, text) == (args[1:], "text")
    ahead, rest = program(*args)
    np.testing.assert_array_equal(ahead, out)
    assert rest == (args[1:], "text")
    assert once_compiled.lower(*args).out_info[1] == (args[1:], "text")


def test_lower_a_method_and_a_module():
    class M(Module):
        w: jax.Array

        @ft.filter_jit
        def f(self, x: jax.Array) -> jax.Array:
            return self.w * x

    np.testing.assert_array_equal(M(X).f.lower(X).compile()(X), X * X)
    np.testing.assert_array_equal(ft.filter_jit(Scale(X)).lower(X).compile()(X), X * X)
