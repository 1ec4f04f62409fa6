"""`trace_modules` and `name_scopes`: statistics and scopes by the path of a module."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_grad, filter_jit
from pytree_module import Module
from runtime_checks import EquinoxRuntimeError, error_if
from runtime_checks.debug import name_scopes, trace_modules


class Scale(Module):
    factor: Any

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.factor * x


class Model(Module):
    layers: list[Scale]
    last: Scale

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


MODEL = Model([Scale(jnp.array(2.0)), Scale(jnp.array(-1.0))], Scale(jnp.array(0.5)))
X = np.array([[0.0, 1.0, 5.0], [-3.0, 2.0, 0.0]], np.float32)


def agrees(stats: Any, values: Any, calls: int, shape: tuple[int, ...]) -> None:
    assert (stats.calls, stats.shape, stats.count) == (calls, shape, values.size)
    expected = (values.mean(), values.std(), abs(values).max(), (values == 0).mean())
    found = (stats.mean, stats.std, stats.largest, stats.zeros)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def whole(model: Any, x: Any) -> Any:
    return model(x).sum()


def mapped(model: Any, x: Any) -> Any:
    return jax.vmap(model)(x).sum()


def scanned(model: Any, x: Any) -> Any:
    return jax.lax.scan(lambda c, x: (c + model(x).sum(), None), jnp.zeros(()), x)[0]


# https://github.com/patrick-kidger/equinox/issues/793
@pytest.mark.parametrize("jit", [filter_jit, jax.jit])
@pytest.mark.parametrize("f", [whole, mapped, scanned])
def test_statistics(jit: Any, f: Any):
    trace = trace_modules(MODEL)
    gradient = jit(filter_grad(f))(trace.model, X)
    np.testing.assert_allclose(gradient.layers[0].factor, filter_grad(f)(MODEL, X).layers[0].factor)
    calls, shape = (1, (2, 3)) if f is whole else (2, (3,))
    assert set(trace.activations) == {"layers[0]", "layers[1]", "last", "Model"}
    agrees(trace.activations["layers[0]"], 2 * X, calls, shape)
    agrees(trace.activations["last"], -X, calls, shape)
    agrees(trace.gradients["last"], np.ones_like(X), calls, shape)
    agrees(trace.gradients["layers[0]"], np.full_like(X, -0.5), calls, shape)
    trace.reset()
    assert trace.activations == {} == trace.gradients


def test_eager_statistics():
    trace = trace_modules(MODEL)
    trace(X)
    agrees(trace.activations["layers[0]"], 2 * X, 1, (2, 3))


def test_nan_and_dtypes():
    trace = trace_modules([Scale(1), Scale(2.0)])
    x = jnp.array([jnp.nan, 1.0, 3.0], jnp.bfloat16)
    trace.model[1](x)
    trace.model[0](jnp.arange(3))  # integers have no statistics
    (stats,) = trace.activations.values()
    assert (stats.dtype, stats.mean, stats.std, stats.largest) == ("bfloat16", 4.0, 2.0, 6.0)
    np.testing.assert_allclose(stats.nans, 1 / 3)


def test_table():
    trace = trace_modules(MODEL)
    filter_grad(whole)(trace.model, X)
    lines = str(trace).split("\n")
    assert lines[0].split() == [
        "module", "shape", "dtype", "mean", "std", "largest", "zeros", "nans", "calls"
    ]  # fmt: skip
    assert len(lines) == 9
    first = next(line for line in lines if line.startswith("activation  layers[0]"))
    assert first.split()[2:] == ["2x3", "float32", "1.67", "4.82", "10", "0.333", "0", "1"]


def test_picture():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    trace = trace_modules(MODEL)
    filter_grad(whole)(trace.model, X)
    axes = trace.plot()
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(trace.activations)
    assert axes[1].get_title() == "gradients"
    import matplotlib.pyplot as plt

    plt.close("all")


def test_the_original_is_as_it_was():
    trace = trace_modules(MODEL)
    assert type(MODEL.last) is Scale and isinstance(trace.model.last, Scale)
    MODEL(X)
    assert trace.activations == {}
    np.testing.assert_array_equal(trace(X), MODEL(X))
    assert trace.model.last.factor is MODEL.last.factor


def test_scopes():
    named = name_scopes(MODEL)
    plain, scoped = (jax.jit(lambda x, m=m: jax.vmap(m)(x)).lower(X) for m in (MODEL, named))
    assert plain.as_text() == scoped.as_text()  # it is the same program
    texts = [lowered.as_text(debug_info=True) for lowered in (plain, scoped)]
    for path in ("layers[0]", "layers[1]", "last"):
        assert path not in texts[0] and path in texts[1]
    a, b = (lowered.compile().cost_analysis() for lowered in (plain, scoped))
    assert a == b


def test_a_failure_that_was_caught_is_not_reported_again():
    # JAX reports the last failure on several devices to whoever waits for callbacks next.
    trace = trace_modules(MODEL)
    fails = jax.jit(lambda x: error_if(x, x < 0, "negative"))
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("device",))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("device"))
    trace(X[0])
    with pytest.raises(EquinoxRuntimeError):
        jax.block_until_ready(fails(jax.device_put(-jnp.ones(4), split)))
    with pytest.raises(EquinoxRuntimeError):
        jax.effects_barrier()
    assert all(found.calls == 1 for found in trace.activations.values())
