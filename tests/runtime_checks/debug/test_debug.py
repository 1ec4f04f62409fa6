"""Announcements, NaN on the way back, breakpoints, dead code, counted traces."""

import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_jit
from pytree_module import Module
from runtime_checks import EquinoxRuntimeError, checks
from runtime_checks.debug import (
    announce_transform,
    assert_dce,
    assert_max_traces,
    backward_nan,
    breakpoint_if,
    get_num_traces,
    inspect_dce,
    store_dce,
)

X = jnp.arange(3.0)


def announced(transform: Any, **kwargs: Any) -> list[str]:
    said: list[str] = []
    transform(lambda x: announce_transform(x, announce=said.append, **kwargs))(X)
    return said


def test_announcements():
    assert announced(lambda f: f) == ["impl"]
    assert announced(jax.jit) == ["abstract", "mlir"]
    assert announced(jax.vmap) == ["vmap:impl"]
    assert announced(lambda f: jax.jit(jax.vmap(f)), name="x") == [
        "(x) vmap:abstract",
        "(x) vmap:mlir",
    ]
    steps = announced(lambda f: jax.jit(jax.vmap(f)), intermediates=True)
    assert steps == ["vmap", "vmap:abstract", "vmap:mlir"]
    said = announced(lambda f: jax.grad(lambda x: f(x).sum()))
    assert said[0] == "jvp_p:impl" and said[-1] == "jvp_t:transpose:impl"
    said = announced(lambda f: jax.hessian(lambda x: (f(x) ** 2).sum()))
    assert "jvp_p:jvp_p:impl" in said and "jvp_t:transpose:vmap:jvp_p:impl" in said
    tree = announce_transform((X, "text", 3), announce=lambda _: None)
    assert tree[1:] == ("text", 3)
    gradient = jax.grad(lambda x: (announce_transform(x, announce=lambda _: None) ** 3).sum())(X)
    np.testing.assert_allclose(gradient, 3 * X**2)


def test_backward_nan(capfd: pytest.CaptureFixture[str]):
    def f(x: Any, **kwargs: Any) -> Any:
        tree = backward_nan({"x": x, "n": 3}, name="here", **kwargs)
        return (jnp.where(x > 0, jnp.sqrt(tree["x"]), 0.0) * tree["n"]).sum()

    for transform in (jax.grad, lambda f: filter_jit(jax.grad(f))):
        np.testing.assert_allclose(transform(f)(X + 1), 1.5 / np.sqrt(X + 1), rtol=1e-6)
        with pytest.raises(EquinoxRuntimeError, match="Encountered NaN"):
            transform(f)(X)
        gradient = transform(lambda x: f(x, terminate=False))(X)
        assert bool(jnp.isnan(gradient[0])) and not bool(jnp.isnan(gradient[1:]).any())
    jax.effects_barrier()
    printed = capfd.readouterr().out
    assert "here:\n" in printed and "primals=" in printed and "cotangents=" in printed
    with checks("off"):
        assert bool(jnp.isnan(jax.grad(f)(X)[0]))


def test_breakpoint_if():
    def options() -> dict[str, Any]:
        return {"backend": "cli", "stdin": io.StringIO("c\n"), "stdout": io.StringIO()}

    for jit in (lambda f: f, jax.jit, jax.vmap, lambda f: filter_jit(jax.vmap(f))):
        for preds, opens in (([False, False], False), ([False, True], True)):
            given = options()

            def f(pred: Any, given: Any = given) -> Any:
                breakpoint_if(pred, num_frames=1, **given)
                return pred

            jax.block_until_ready(jit(f)(jnp.array(preds)))
            jax.effects_barrier()
            assert ("(jdb)" in given["stdout"].getvalue()) == opens


def test_what_is_left_out(capsys: pytest.CaptureFixture[str]):
    @jax.jit
    def f(x: Any, key: Any) -> Any:
        a, _ = store_dce((x**2, x + 1), name="powers")
        b, _, _, _ = store_dce((key, x - 1, "text", 3), name="key")
        return a, b

    f(1, jax.random.key(0))
    for name in ("powers", "key", "nobody"):
        inspect_dce(name)
    out = capsys.readouterr().out
    assert "Found 1 call to" in out and "Entry 0:\n(i32[], <DCE'd>)\n" in out
    assert "<DCE'd>, 'text', 3)" in out and "key<fry>[]" in out and "Found 0 calls" in out
    with pytest.raises(RuntimeError, match="should be used inside of JIT"):
        store_dce(X)
    gradient = jax.jit(jax.grad(lambda x: (store_dce(x, name="grad") ** 2).sum()))(X)
    np.testing.assert_allclose(gradient, 2 * X)


def test_assert_dce():
    def needed(x: Any) -> Any:
        return assert_dce(x, "it is needed") + 1

    def not_needed(x: Any) -> Any:
        assert_dce((jnp.sin(x), "text"), "it is needed")
        return x

    for jit in (filter_jit, jax.jit):
        np.testing.assert_array_equal(jit(not_needed)(X), X)
        with pytest.raises((EquinoxRuntimeError, jax.errors.JaxRuntimeError), match="it is needed"):
            jax.block_until_ready(jit(needed)(X))
    np.testing.assert_array_equal(needed(X), X + 1)
    # Once the program has run, JAX calls it in its quick way, and raises a ValueError.
    f = jax.jit(lambda x: jax.lax.cond(x[0] < 0, needed, jnp.sin, x))
    for _ in range(2):
        np.testing.assert_allclose(f(jnp.ones(3)), np.sin(np.ones(3)), rtol=1e-6)
    with pytest.raises(EquinoxRuntimeError, match="it is needed") as caught:
        jax.block_until_ready(f(-jnp.ones(3)))
    own = EquinoxRuntimeError.of(caught.value)
    assert own is not None and own.message == "it is needed"


def test_counted_traces():
    f = filter_jit(assert_max_traces(lambda x, flag: x + 1, max_traces=1))
    for _ in range(2):
        np.testing.assert_array_equal(f(X, True), X + 1)
    assert get_num_traces(f) == 1
    with pytest.raises(
        RuntimeError, match=r"only be traced 1 times.*\n.*\n?.*x: shape \(3,\) -> \(2,\)"
    ):
        f(X[:2], True)
    with pytest.raises(RuntimeError, match="flag: static True -> False"):
        f(X, False)
    assert get_num_traces(f) == 3
    free = assert_max_traces(jax.jit(lambda x: x), max_traces=None)
    free(1)
    free(2)
    assert get_num_traces(free) == 2
    with pytest.raises(ValueError, match="does not appear to be wrapped"):
        get_num_traces(lambda x: x)
    with pytest.raises(ValueError, match="must be a count"):
        assert_max_traces(lambda x: x, max_traces=-1)


def test_counted_callables():
    class Model(Module):
        weight: Any

        @filter_jit
        @assert_max_traces(max_traces=1)
        def method(self, x: Any) -> Any:
            return self.weight * x

        def __call__(self, x: Any) -> Any:
            return self.weight * x

    model = Model(jnp.array(2.0))
    np.testing.assert_array_equal(model.method(X), 2 * X)
    np.testing.assert_array_equal(Model(jnp.array(3.0)).method(X), 3 * X)
    counted = assert_max_traces(model, max_traces=2)
    assert len(jax.tree.leaves(counted)) == 1
    gradient = filter_jit(jax.grad(lambda m: m(X).sum()))(counted)
    assert gradient.fn.weight == 3 and get_num_traces(counted) == 1

    @assert_max_traces(max_traces=None)
    def named(x: Any) -> Any:
        return x

    assert named.__name__ == "named"


def test_what_is_stored_is_bounded(capsys: pytest.CaptureFixture[str]):
    @jax.jit
    def f(x: jax.Array) -> jax.Array:
        for _ in range(1030):
            x = store_dce(x, "many calls")
        return x

    f.trace(jnp.ones(()))
    inspect_dce("many calls")
    assert "Found 1024 calls" in capsys.readouterr().out
