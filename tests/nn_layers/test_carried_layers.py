"""Every layer goes through pickle and copy as itself: equal, with the same programs and results."""

import copy
import functools
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import cloudpickle
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import nn_layers as nn
from filtered_transforms import filter_grad, filter_jit, is_array, partition
from pytree_module import Module, Partial
from tree_surgery import tree_equal

KEY = jr.key(0)
WAYS = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "cloudpickle": lambda x: pickle.loads(cloudpickle.dumps(x)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
each_way = pytest.mark.parametrize("way", WAYS)


def make_norm():
    return nn.Sequential([nn.Linear(3, 2, key=KEY), nn.BatchNorm(2, "batch", mode="batch")])


# What the table of all layers has not: other functions, states, and layers within layers.
OTHERS = {
    "MLP of silu": lambda: nn.MLP(3, 2, 4, 2, activation=jax.nn.silu, key=KEY),
    "MLP of sin": lambda: nn.MLP(3, 2, 4, 1, jnp.sin, jax.nn.softplus, key=KEY),
    "Stacked MLP": lambda: nn.Stacked(lambda key: nn.MLP(3, 3, 4, 1, key=key), 2, key=KEY),
    "Stacked with a policy": lambda: nn.Stacked(
        lambda key: nn.Linear(3, 3, key=key),
        2,
        key=KEY,
        remat=jax.checkpoint_policies.dots_saveable,
    ),
    "StateIndex": lambda: nn.make_with_state(make_norm)()[0],
    "State": lambda: nn.make_with_state(make_norm)()[1],
    "model and state": lambda: nn.make_with_state(make_norm)(),
    "SpectralNorm": lambda: nn.make_with_state(nn.SpectralNorm)(
        nn.Linear(3, 2, key=KEY), "weight", key=KEY
    ),
    "KVCache": lambda: nn.MultiheadAttention(2, 4, key=KEY).init_cache(8),
    "method": lambda: nn.MLP(3, 2, 4, 1, key=KEY).__call__,
    "filter_jit of a layer": lambda: filter_jit(nn.MLP(3, 2, 4, 1, key=KEY)),
    "filter_jit of a method": lambda: filter_jit(nn.MLP(3, 2, 4, 1, key=KEY).__call__),
    "Partial": lambda: Partial(jax.nn.leaky_relu, negative_slope=0.1),
    "decorated function": lambda: nn.MLP(3, 2, 4, 1, activation=jitted, key=KEY),
}


@filter_jit
def jitted(x):
    return jnp.tanh(x)


def assert_carried(made, read):
    assert type(read) is type(made) and tree_equal(read, made)
    assert jax.tree.structure(read) == jax.tree.structure(made)
    traces = 0

    @filter_jit
    def run(tree):
        nonlocal traces
        traces += 1
        return jax.tree.map(lambda x: x, partition(tree, is_array)[0])

    run(made), run(read)
    assert traces == 1


@each_way
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_made_of_layers(name, way):
    made = OTHERS[name]()
    if way == "copy" and name in ("method", "filter_jit of a method", "State", "model and state"):
        made = [made]  # a shallow copy is of what holds it
    assert_carried(made, WAYS[way](made))


@each_way
def test_a_partial_is_equal_to_itself_alone_and_is_copied_as_itself(way):
    layer = nn.Lambda(functools.partial(jax.nn.leaky_relu, negative_slope=0.1))
    read = WAYS[way](layer)
    assert (read.fn is layer.fn) == (way in ("copy", "deepcopy"))
    assert read.fn.func is jax.nn.leaky_relu and read.fn.keywords == {"negative_slope": 0.1}
    held = functools.partial(jnp.add, [1, 2])
    assert copy.deepcopy(nn.Lambda(held)).fn.args[0] is not held.args[0]


@each_way
def test_a_state_read_with_its_model_goes_on(way):
    model, state = nn.make_with_state(make_norm)()
    x = jr.normal(KEY, (8, 3))

    def run(model, state):
        return jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)

    y, after = run(*WAYS[way]((model, jax.tree.map(lambda x: x, state))))
    expected, expected_after = run(model, state)
    np.testing.assert_array_equal(y, expected)
    assert tree_equal(after, expected_after)
    # The indices have no names yet: model and state know each other by them, also when read.
    bare = make_norm()
    model, state = WAYS[way]((nn.delete_init_state(bare), nn.State(bare)))
    assert tree_equal(run(model, state)[0], run(nn.delete_init_state(bare), nn.State(bare))[0])


@each_way
def test_a_decorated_function_is_the_same_after_a_step(way):
    # A tree map makes another object of it, which is equal.
    model = nn.MLP(3, 2, 4, 1, activation=jitted, key=KEY)
    grads = filter_grad(lambda model, x: jnp.sum(model(x)))(model, jnp.ones(3))
    stepped = jax.tree.map(lambda x: x, model)
    assert_carried(stepped, WAYS[way](stepped))
    assert_carried(grads, WAYS[way](grads))


@each_way
def test_the_state_of_an_optimiser(way):
    model = nn.MLP(3, 2, 4, 1, key=KEY)
    optimiser = optax.chain(optax.clip(1.0), optax.adamw(optax.cosine_decay_schedule(0.1, 10)))
    state = optimiser.init(partition(model, is_array)[0])
    _, read = WAYS[way]((model, state))
    assert_carried(state, read)


PROGRAM = """
import multiprocessing, sys
import jax, jax.numpy as jnp, numpy as np
import filtered_transforms as ft, nn_layers as nn
from pytree_module import Module

class Own(Module):
    scale: jax.Array
    activation: object
    def __call__(self, x):
        return self.activation(self.scale * x)

@jax.jit
def triple(x):
    return 3 * x

def work(model, x):
    return np.asarray(ft.filter_jit(model)(x)), model

def models():
    key = jax.random.key(0)
    return [
        nn.MLP(3, 2, 4, 2, activation=jax.nn.silu, key=key),
        nn.Stacked(lambda key: nn.MLP(3, 3, 4, 1, key=key), 2, key=key),
        nn.Sequential([nn.Linear(3, 3, key=key), nn.Lambda(jnp.tanh)]),
        Own(jnp.ones(3), triple),
        Own(jnp.ones(3), jax.nn.relu),
    ]
"""
SPAWN = """
if __name__ == "__main__":
    x = np.arange(3.0, dtype="f4")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for model in models():
            y, back = pool.apply(work, (model, x))
            np.testing.assert_allclose(y, model(x), rtol=1e-5)
            assert back == model and jax.tree.structure(back) == jax.tree.structure(model)
    print("done")
"""
JOBLIB = """
if __name__ == "__main__":
    from joblib import Parallel, delayed
    x = np.arange(3.0, dtype="f4")
    made = models()[:3]
    for model, (y, back) in zip(made, Parallel(n_jobs=2)(delayed(work)(m, x) for m in made)):
        np.testing.assert_allclose(y, model(x), rtol=1e-5)
        assert back == model and jax.tree.structure(back) == jax.tree.structure(model)
    print("done")
"""


@pytest.mark.parametrize("ending", ["spawn", "joblib"])
def test_other_processes(ending, tmp_path: Path):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM + {"spawn": SPAWN, "joblib": JOBLIB}[ending])
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0 and done.stdout == "done\n", textwrap.shorten(done.stderr, 2000)


class Holding(Module):
    layer: nn.Sequential


def test_the_error_of_a_function_without_a_name_says_where_it_is():
    model = Holding(nn.Sequential([nn.Identity(), nn.Lambda(jax.jit(lambda x: x))]))
    with pytest.raises(pickle.PicklingError, match=r"`Holding.layer.layers\[1\].fn` holds"):
        pickle.dumps(model)
