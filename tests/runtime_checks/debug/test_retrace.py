"""Why a function was traced again."""

import functools
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import clear_caches, filter_jit
from pytree_module import Module, field
from runtime_checks.debug import explain_retrace, log_retraces

X = jnp.arange(3.0)


# https://github.com/patrick-kidger/equinox/issues/640
@pytest.mark.parametrize("jit", [filter_jit, jax.jit])
def test_arrays(jit: Any):
    said: list[str] = []
    f = explain_retrace(jit(lambda x, y: x["a"] * 2), report=said.append)
    f({"a": X}, X)
    f({"a": X + 1}, X)
    assert said == []
    np.testing.assert_array_equal(f({"a": X[:2]}, X), X[:2] * 2)
    assert "second time" in said[-1] and "x['a']: shape (3,) -> (2,)" in said[-1]
    assert __file__ in said[-1]
    f({"a": X.astype(int)}, X)
    assert "x['a']: dtype float32 -> int32" in said[-1] and "\n  y:" not in said[-1]
    f({"a": X}, jnp.asarray(1.0))
    f({"a": X}, jnp.float32(1.0))
    assert "y: weak type True -> False" in said[-1]
    f({"a": jax.device_put(X, jax.devices()[1])}, jnp.float32(1.0))
    f({"a": X, "b": X}, X)
    assert "x['b']: new, float32[3]" in said[-1]
    count = len(said)
    f({"a": X, "b": X}, X)
    assert len(said) == count
    clear_caches()
    f({"a": X}, X)
    assert "those of an earlier call" in said[-1]


# https://github.com/patrick-kidger/equinox/issues/1062
# https://github.com/patrick-kidger/equinox/issues/645
def test_static_values():
    said: list[str] = []
    f = explain_retrace(filter_jit(lambda x, other, g=None: x), report=said.append)
    f(X, 1)
    f(X, 2)
    assert "other: static 1 -> 2 (a Python number is static" in said[-1]
    f(X, X)
    assert "other: static 2 -> array float32[3]" in said[-1] or "static 1" in said[-1]
    for _ in range(2):
        f(X, 1, g=lambda x: x)
    assert "g: a new object each time: the function `lambda`" in said[-1] and __file__ in said[-1]
    for i in range(2):
        f(X, 1, g=functools.partial(np.add, i))
        f(X, 1, g=functools.partial(test_arrays, i))
    assert "g: " in said[-1]
    assert f.__name__ == "<lambda>" and f.lower(X, 1) is not None


@pytest.mark.parametrize("jit", [filter_jit, jax.jit])
def test_fields_of_modules(jit: Any):
    class Layer(Module):
        weight: jax.Array
        bias: Any
        name: str = field(static=True)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.weight * x

    said: list[str] = []
    f = explain_retrace(jit(lambda model, x: model["layers"][0](x)), report=said.append)
    f({"layers": [Layer(X, X, "a")]}, X)
    f({"layers": [Layer(X, X, "b")]}, X)
    assert said[-1].endswith("model['layers'][0].name: static 'a' -> 'b'")
    f({"layers": [Layer(X, None, "b")]}, X)
    assert said[-1].endswith("model['layers'][0].bias: gone")
    g = explain_retrace(jit(lambda model, x: model(x)), report=said.append)
    g(Layer(X, X, "a"), X)
    g(Layer(X, X[:2], "a"), X)
    assert said[-1].endswith("\n  model.bias: shape (3,) -> (2,)")


def test_static_arguments_of_jax_jit():
    said: list[str] = []
    f = explain_retrace(jax.jit(lambda x, n: x * n, static_argnums=1), report=said.append)
    f(1.0, 2)
    f(1.0, 3)
    assert "n: static 2 -> 3" in said[-1]
    f(4.0, 3)
    assert len(said) == 1


def test_all_functions_in_a_block():
    said: list[str] = []
    f, g = filter_jit(lambda x: x + 1), jax.jit(lambda x: x + 2)
    with log_retraces(said.append):
        f(X)
        g(X)
        f(X)
        assert said == []
        f(X[:2])
        assert "x: shape (3,) -> (2,)" in said[-1]
        g(X[:2])
        assert "f32[2]" in said[-1] and "f32[3]" in said[-1]
        for _ in range(2):
            filter_jit(lambda x: x)(X)
        assert "a new object each time" in said[-1] and __file__ in said[-1]
    count = len(said)
    f(X[:1])
    g(X[:1])
    assert len(said) == count and not jax.config.jax_explain_cache_misses


def test_programs_on_disk_are_not_spoken_of(capfd: pytest.CaptureFixture[str]):
    # `tests/conftest.py` names a folder for them. With the number the program is in none yet.
    assert jax.config.jax_compilation_cache_dir
    said: list[str] = []
    with log_retraces(said.append):
        jax.jit(lambda x: x + time.time())(X).block_until_ready()
    assert said == [] and capfd.readouterr().err == ""


def test_wrong_use():
    with pytest.raises(TypeError, match="expects a jitted function"):
        explain_retrace(3)


def test_a_block_is_its_own_threads_alone():
    said: list[str] = []
    g = jax.jit(lambda x: x + 2)
    seen: list[bool] = []

    def elsewhere() -> None:
        seen.append(jax.config.jax_explain_cache_misses)
        for n in (1, 2, 3):
            g(jnp.ones(n))
            filter_jit(lambda x: x)(jnp.ones(n))

    with log_retraces(said.append):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert said == [] and seen == [False]
        g(jnp.ones(4))
        assert "f32[4]" in said[-1]
