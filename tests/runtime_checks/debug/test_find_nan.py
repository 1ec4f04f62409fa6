"""`find_nan`: the operation, the line, the module, the step, through every transformation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_grad, filter_jit, filter_vmap
from pytree_module import Module
from runtime_checks.debug import find_nan

X = jnp.array([1.0, 0.0, 2.0])


def bad_log(x: jax.Array) -> jax.Array:
    return jnp.log(x)  # here


LINE = bad_log.__code__.co_firstlineno + 1


@jax.custom_jvp
def with_jvp(x: jax.Array) -> jax.Array:
    return bad_log(x)


with_jvp.defjvp(lambda primals, tangents: (with_jvp(*primals), tangents[0]))


@jax.custom_vjp
def with_vjp(x: jax.Array) -> jax.Array:
    return x


with_vjp.defvjp(lambda x: (x, x), lambda x, g: (g * bad_log(x),))

PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "plain": (bad_log, ()),
    "jit": (jax.jit(lambda x: jax.jit(bad_log)(x)), ()),
    "filter_jit": (filter_jit(bad_log), ()),
    "vmap": (jax.vmap(bad_log), ()),
    "filter_vmap": (filter_vmap(bad_log), ()),
    "grad": (jax.grad(lambda x: bad_log(x).sum()), ()),
    "filter_grad": (filter_grad(lambda x: (bad_log(x) ** 2).sum()), ()),
    "custom_jvp": (jax.grad(lambda x: with_jvp(x).sum()), ()),
    "custom_vjp": (jax.grad(lambda x: with_vjp(x).sum()), ()),
    "checkpoint": (jax.grad(lambda x: jax.checkpoint(bad_log)(x).sum()), ()),
    "scan": (
        lambda x: jax.lax.scan(lambda c, _: (c - 1, bad_log(c)), x + 2, None, length=5)[1],
        (2,),
    ),
    "reverse scan": (
        lambda x: jax.lax.scan(lambda c, x: (c, bad_log(x)), 0, x, reverse=True),
        (1,),
    ),
    "grad of scan": (
        jax.grad(
            lambda x: jax.lax.scan(lambda c, _: (c - 1, bad_log(c)), x + 2, None, length=5)[1].sum()
        ),
        (2,),
    ),
    "loop in a loop": (
        lambda x: jax.lax.fori_loop(
            0,
            3,
            lambda i, c: jax.lax.fori_loop(0, i, lambda j, c: c + 0 * bad_log(c - i - j), c),
            x + 3,
        ),
        (2, 1),
    ),
    "while": (
        lambda x: jax.lax.while_loop(lambda c: c.sum() < 99, lambda c: c + 1 + bad_log(c), x),
        (0,),
    ),
    "cond": (lambda x: jax.lax.cond(x[0] > 0, bad_log, jnp.sin, x), ()),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_is_found(name: str):
    f, step = PROGRAMS[name]
    report = find_nan(f, X)
    assert report is not None and report.operation == "log"
    assert report.places[0].file == __file__
    if name != "custom_vjp":  # JAX gives what a backward rule does the line of the call
        assert report.places[0].line == LINE and "return jnp.log(x)  # here" in str(report)
    assert report.loop == step
    assert all(np.isfinite(x).all() for x in report.inputs)
    assert not np.isfinite(report.outputs[0]).all()
    assert find_nan(f, X + 50) is None


def test_only_on_the_way_back():
    def f(x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, jnp.sqrt(x), 0.0).sum()

    assert find_nan(f, X) is None
    report = find_nan(jax.grad(f), X)
    assert report is not None and report.operation == "div"
    assert report.places[0].line == f.__code__.co_firstlineno + 1
    assert "makes an infinity out of finite numbers" in str(report)


def test_what_was_not_finite_before_is_passed_over():
    x = jnp.array([jnp.inf, 1.0])
    assert find_nan(lambda x: x * 2, x) is None
    assert find_nan(lambda x: jnp.where(x > 1, x, -jnp.inf).max(), X) is None
    report = find_nan(lambda x: (x[0] * 0, jnp.log(x[1] - 2)), x)
    assert report is not None and report.operation == "log" and "makes NaN" in str(report)


def test_the_module_is_named():
    class Layer(Module):
        power: float
        active: bool = True

        def __call__(self, x: jax.Array) -> jax.Array:
            return x**self.power

    class Model(Module):
        layers: list[Layer]
        head: dict[str, Layer]

        def __call__(self, x: jax.Array, flip: bool = False) -> jax.Array:
            for layer in self.layers:
                x = jax.vmap(layer)(x)
            return filter_jit(self.head["last"])(x - 1)

    model = Model([Layer(1.0), Layer(2.0)], {"last": Layer(-0.5)})
    report = find_nan(model, X, flip=True)
    assert report is not None and report.module == "model.head['last']"
    assert "It is part of the module model.head['last']." in str(report)

    def loss(x: jax.Array, model: Model) -> jax.Array:
        return model(x).sum()

    for f in (filter_grad(loss), filter_jit(filter_grad(loss))):
        report = find_nan(f, X, model)
        assert report is not None and report.module == "args[1].head['last']"


def test_a_module_that_is_closed_over_goes_by_its_classes():
    class Inner(Module):
        power: float

        def __call__(self, x: jax.Array) -> jax.Array:
            return x**self.power

    class Outer(Module):
        inner: Inner

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.inner(x) + 1

    model = Outer(Inner(-0.5))
    for f in (jax.vmap(model), lambda x: model(x).sum(), jax.grad(lambda x: model(x).sum())):
        report = find_nan(f, X)
        assert report is not None and report.module == "Outer/Inner"
    report = find_nan(model.__call__, X)
    assert report is not None and report.module == "model.inner"


def test_a_function_that_was_traced_elsewhere():
    # What JAX has kept of it says where it was called first: here that line is of no interest.
    inner = jax.jit(bad_log)
    inner(X + 1)

    def caller(x: jax.Array) -> jax.Array:
        return inner(x)

    report = find_nan(caller, X)
    assert report is not None
    assert [place.line for place in report.places[:2]] == [LINE, caller.__code__.co_firstlineno + 1]
