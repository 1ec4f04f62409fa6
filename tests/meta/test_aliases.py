"""One import holds every public name of the parts, and they work together."""

import importlib
import pickle
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equinoctial as eqx

PARTS = ["tree_surgery", "pytree_module", "filtered_transforms", "runtime_checks", "nn_layers"]


@pytest.mark.parametrize("part", PARTS)
def test_every_public_name_of_a_part_is_here_and_the_same(part: str):
    module = importlib.import_module(part)
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, types.ModuleType):
            continue
        here = getattr(eqx.nn if part == "nn_layers" else eqx, name, None)
        assert here is value or getattr(eqx, name, None) is value, f"{part}.{name}"


@pytest.mark.parametrize("name", ["tree_at", "Module", "filter_jit", "error_if", "nn.Linear"])
def test_pickles_by_the_public_path_of_its_part(name: str):
    value = eqx
    for part in name.split("."):
        value = getattr(value, part)
    assert value.__module__ in PARTS
    assert pickle.loads(pickle.dumps(value)) is value


def test_a_step_of_gradient_descent():
    """The parts together, against the closed form of the gradient in NumPy."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    model = eqx.nn.Linear(3, 2, key=jax.random.key(0))

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(model, x, y):
        x = eqx.error_if(x, ~jnp.isfinite(x), "x has to be finite")
        return jnp.mean((jax.vmap(model)(x) - y) ** 2)

    value, grads = loss(model, x, y)
    residual = x @ np.asarray(model.weight).T + np.asarray(model.bias) - y
    np.testing.assert_allclose(value, (residual**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(grads.weight, 2 * residual.T @ x / y.size, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(grads.bias, 2 * residual.sum(0) / y.size, rtol=1e-4, atol=1e-6)

    stepped = eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, grads))
    assert loss(stepped, x, y)[0] < value
    frozen = eqx.tree_at(lambda m: m.bias, stepped, model.bias)
    assert eqx.tree_equal(frozen.bias, model.bias)
    assert not eqx.tree_equal(frozen, model)


KEY = jax.random.key(0)
GENERIC = {
    "Static": (lambda cls: cls("a"), eqx.internal.Static),
    "Partial": (lambda cls: cls(jnp.add, 1), eqx.Partial),
    "StateIndex": (lambda cls: cls(jnp.zeros(2)), eqx.nn.StateIndex),
    "WeightNorm": (lambda cls: cls(eqx.nn.Linear(2, 2, key=KEY)), eqx.nn.WeightNorm),
    "SpectralNorm": (
        lambda cls: cls(eqx.nn.Linear(2, 2, key=KEY), "weight", key=KEY),
        eqx.nn.SpectralNorm,
    ),
}


@pytest.mark.parametrize("name", GENERIC)
def test_takes_a_type_where_equinox_does(name: str):
    """As `index: StateIndex[Array]` in a class body, which is evaluated."""
    make, cls = GENERIC[name]

    class Holder(eqx.Module):
        held: cls[int]

    plain, held = make(cls), Holder(make(cls[int])).held
    assert type(held) is cls and held.__orig_class__ == cls[int]
    assert vars(held).keys() - {"__orig_class__"} == vars(plain).keys()
    assert jax.tree.structure(held).num_leaves == jax.tree.structure(plain).num_leaves


def test_a_progress_meter_may_name_the_type_of_its_state():
    class Counts(eqx.internal.AbstractProgressMeter[int]):
        def init(self) -> int:
            return 0

        def step(self, state: int, progress: object) -> int:
            return state + 1

        def close(self, state: int) -> None: ...

    assert Counts().step(Counts().init(), 0.5) == 1
