"""Functions with checks do under `filter_jit` what they do without them."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_grad, filter_jit, filter_pmap
from pytree_module import Module
from runtime_checks import EquinoxRuntimeError, error_if

GOOD, BAD = jnp.arange(3.0), jnp.arange(3.0) - 1


def positive(x: jax.Array, text: str = "negative input") -> jax.Array:
    return error_if(x, x < 0, text)


def root(x: jax.Array) -> jax.Array:
    return jnp.sqrt(positive(x) + 1)


def test_an_inner_function_traced_before():
    inner = jax.jit(root)
    inner(GOOD)
    filter_jit(lambda x: inner(x) + 1)(GOOD)
    for f in (filter_jit(lambda x: inner(x) * 2), filter_jit(lambda x: inner(x) + inner(x + 1))):
        f(GOOD)
        with pytest.raises(EquinoxRuntimeError, match="negative input"):
            f(BAD)


def test_inner_functions_keep_their_options():
    device = jax.devices()[1]
    sharding = jax.sharding.SingleDeviceSharding(device)
    inner = jax.jit(root, out_shardings=sharding, in_shardings=sharding)
    x = jax.device_put(GOOD, device)
    f = filter_jit(lambda x: inner(x) * 2)
    out = f(x)
    assert out.devices() == {device}
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        f(x - 1)


def test_in_a_method_with_other_arguments():
    class Model(Module):
        scale: jax.Array
        name: str

        @filter_jit
        def __call__(self, x: jax.Array, flag: bool) -> tuple[jax.Array, str]:
            return positive(x * self.scale), self.name

    model = Model(jnp.array(2.0), "a")
    for _ in range(2):
        out, name = model(GOOD, True)
        np.testing.assert_array_equal(out, GOOD * 2)
        assert name == "a"
        with pytest.raises(EquinoxRuntimeError, match="negative input"):
            model(BAD, flag=False)


def test_with_donation_and_silence():
    f = filter_jit(lambda x, y: (positive(x) + 1, y.sum()), donate="all")
    out, total = f(jnp.arange(3.0), jnp.arange(5))
    np.testing.assert_array_equal(out, GOOD + 1)
    assert total == 10
    with pytest.raises(EquinoxRuntimeError):
        f(jnp.arange(3.0) - 1, jnp.arange(5))


def test_one_trace_and_other_shapes():
    count = 0

    def f(x: jax.Array) -> jax.Array:
        nonlocal count
        count += 1
        return root(x) if x.ndim == 1 else x

    g = filter_jit(f)
    for _ in range(3):
        g(GOOD)
        with pytest.raises(EquinoxRuntimeError):
            g(BAD)
    assert count == 1
    np.testing.assert_array_equal(g(GOOD[None]), GOOD[None])  # no check there
    with pytest.raises(EquinoxRuntimeError):
        g(jnp.array([-1.0]))
    assert count == 3
    # A program that has no check for its first arguments, but for others.
    h = filter_jit(lambda x: root(x) if x.ndim == 1 else x)
    h(GOOD[None])
    for _ in range(2):
        with pytest.raises(EquinoxRuntimeError, match="negative input"):
            h(BAD)
        h(GOOD)


def test_inside_of_other_transformations():
    f = filter_jit(root)
    outer = {
        "jit": jax.jit(lambda x: f(x) * 2),
        "vmap": jax.vmap(f),
        "grad": lambda x: filter_grad(lambda x: f(x).sum())(x),
        "filter_jit": filter_jit(lambda x: f(x) * 2),
        "scan": filter_jit(lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=2)[0]),
        "closure": filter_jit(lambda x: filter_jit(lambda: root(x))()),
        "vmap of closure": jax.vmap(lambda x: filter_jit(lambda: root(x))()),
    }
    for name, g in outer.items():
        f(GOOD)
        jax.block_until_ready(g(GOOD))
        with pytest.raises((EquinoxRuntimeError, jax.errors.JaxRuntimeError), match="negative in"):
            print(name, jax.block_until_ready(g(BAD)))


# A callback fails the program on every device; what is raised is ours, as under `filter_jit`.
def test_under_filter_pmap():
    def each(x: jax.Array) -> jax.Array:
        return positive(x) * 2

    f = filter_pmap(each)
    good, bad = jnp.arange(4.0).reshape(2, 2), jnp.array([[0.0, 1.0], [2.0, -3.0]])
    for _ in range(2):
        np.testing.assert_array_equal(f(good), good * 2)
        with pytest.raises(EquinoxRuntimeError, match="negative input") as caught:
            f(bad)
        assert type(caught.value) is EquinoxRuntimeError
        assert caught.value.message == "negative input"


def test_lowered_and_compiled():
    compiled = filter_jit(root).lower(GOOD).compile()
    np.testing.assert_allclose(compiled(GOOD), root(GOOD))
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        compiled(BAD)


def test_calls_leave_no_garbage():
    f = filter_jit(root)
    f(GOOD)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(100):
            f(GOOD)
        assert len(gc.get_objects()) - before < 50 and gc.collect() < 50
    finally:
        gc.enable()
