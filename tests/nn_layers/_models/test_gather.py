"""`gather_where_used`: what is gathered, and that a `Stacked` never holds all of it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import nn_layers as nn
from filtered_transforms import filter_eval_shape, filter_grad, filter_jit
from pytree_module import Module
from tree_surgery import fsdp, tree_shardings

pytestmark = pytest.mark.heavy

KEY = jax.random.key(0)
RULES = fsdp("data", min_size=0)


def mesh_of(axis_type: Any = AxisType.Explicit) -> Any:
    return jax.make_mesh((2,), ("data",), axis_types=(axis_type,))


def specs(tree):
    return [jax.typeof(x).sharding.spec for x in jax.tree.leaves(tree) if hasattr(x, "shape")]


class Model(Module):
    """A module of a user: an array, layers of the library, and a block of the user's own."""

    scale: jax.Array
    embed: nn.Linear
    block: Any

    def __call__(self, x):
        return self.block(self.embed(x)) * self.scale


class OwnBlock(Module):
    weight: jax.Array

    def __call__(self, x):
        assert specs(self.weight) == [P(None, None)]
        return self.weight @ x


def made():
    return Model(jnp.ones(4), nn.Linear(4, 4, key=KEY), OwnBlock(jnp.eye(4)))


def placed(tree, mesh):
    return jax.device_put(tree, tree_shardings(tree, RULES, mesh))


def test_blocks_are_gathered_when_they_are_called_and_other_arrays_at_once():
    mesh = mesh_of()
    with jax.set_mesh(mesh):
        model, x = (
            placed(made(), mesh),
            jax.device_put(np.ones((2, 4)), NamedSharding(mesh, P("data"))),
        )

        @jax.jit
        def f(model, x):
            found = nn.gather_where_used(model, blocks=OwnBlock)
            assert specs(found.scale) == [P(None)]
            assert specs(found.embed.block.weight) == specs(model.embed.weight) == [P("data", None)]
            assert specs(found.embed.weight) == [P(None, None)]  # as an attribute of the layer
            assert specs(found.block.block) == [P("data", None)]
            return jax.vmap(found)(x)

        np.testing.assert_allclose(f(model, x), jax.vmap(made())(np.ones((2, 4))), rtol=1e-5)


def test_on_automatic_axes_nothing_changes():
    with jax.set_mesh(mesh_of(AxisType.Auto)):
        model = placed(made(), mesh_of(AxisType.Auto))
        text = jax.jit(lambda m, x: jax.vmap(nn.gather_where_used(m))(x)).lower(
            model, jnp.ones((2, 4))
        )
        assert "sharding_constraint" not in text.as_text()


def test_keys_states_and_signatures_are_those_of_the_block():
    layers = nn.Sequential([nn.Linear(4, 4, key=KEY), nn.Dropout(0.5), nn.Identity()])
    x = jnp.ones(4)
    expected = layers(x, key=KEY)
    np.testing.assert_array_equal(nn.gather_where_used(layers)(x, key=KEY), expected)
    norms, state = nn.make_with_state(
        lambda: nn.Sequential([nn.BatchNorm(4, "batch", mode="batch"), nn.Linear(4, 4, key=KEY)])
    )()

    def run(norms):
        call = jax.vmap(norms, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        return call(jnp.arange(8.0).reshape(2, 4), state)[0]

    np.testing.assert_allclose(run(nn.gather_where_used(norms)), run(norms), rtol=1e-6)


@pytest.mark.parametrize("remat", ["elementwise", False, True])
def test_the_memory_of_a_stack_does_not_grow_by_gathered_parameters(remat):
    width, mesh = 256, mesh_of()

    def temporaries(n: int) -> int:
        def make(key):
            return nn.MLP(width, width, width, 1, key=key)

        stack = filter_eval_shape(lambda: nn.Stacked(make, n, remat=remat, key=KEY))
        with jax.set_mesh(mesh):
            rules = fsdp("data", min_size=0)
            places = tree_shardings(stack, rules, mesh)
            stack = jax.tree.map(
                lambda x, s: (
                    jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
                    if isinstance(s, NamedSharding)
                    else x
                ),
                stack,
                places,
            )
            x = jax.ShapeDtypeStruct(
                (8, width), jnp.float32, sharding=NamedSharding(mesh, P("data"))
            )

            def loss(stack, x):
                return jnp.mean(jax.vmap(nn.gather_where_used(stack))(x) ** 2)

            compiled = filter_jit(filter_grad(loss)).lower(stack, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    a_layer = 4 * 2 * width * width
    assert temporaries(12) - temporaries(6) < a_layer  # six more layers
