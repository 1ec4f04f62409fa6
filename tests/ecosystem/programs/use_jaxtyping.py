"""jaxtyping with beartype: shapes of fields, arguments and results of modules are checked."""

import equinox as eqx
import jax
import jax.numpy as jnp
from beartype import beartype
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, TypeCheckError, jaxtyped
from report import report


@jaxtyped(typechecker=beartype)
class Linear(eqx.Module):
    weight: Float[Array, "out in_"]
    bias: Float[Array, " out"]
    name: str = eqx.field(static=True, default="linear")

    @jaxtyped(typechecker=beartype)
    def __call__(self, x: Float[Array, " in_"]) -> Float[Array, " out"]:
        return self.weight @ x + self.bias


@jaxtyped(typechecker=beartype)
class Net(eqx.Module):
    layers: list[Linear]
    table: Int[Array, "..."] = eqx.field(converter=jnp.asarray)

    def __init__(self, sizes: list[int], key: PRNGKeyArray):
        keys = jax.random.split(key, len(sizes))
        self.layers = [
            Linear(jax.random.normal(k, (b, a)), jnp.zeros(b))
            for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
        ]
        self.table = list(range(3))

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " m"]:
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return x


@jaxtyped(typechecker=beartype)
def total(tree: PyTree[Float[Array, "..."]], x: Float[Array, "batch n"]) -> Float[Array, ""]:
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(tree)) + jnp.sum(x)


def refuses(function, *args):
    try:
        function(*args)
    except TypeCheckError:
        return True
    return False


key = jax.random.key(0)
with report() as numbers:
    net = Net([3, 4, 2], key)
    x = jnp.arange(3.0)
    numbers["net"] = eqx.filter_jit(net)(x)
    numbers["grads"] = eqx.filter_grad(lambda net: jnp.sum(net(x)))(net).layers[0].weight
    numbers["vmap"] = jax.vmap(net)(jnp.ones((5, 3)))
    numbers["total"] = total(eqx.filter(net, eqx.is_inexact_array), jnp.ones((2, 3)))
    numbers["table"] = net.table
    numbers["refused"] = [
        refuses(Linear, jnp.ones((2, 3)), jnp.ones(3)),
        refuses(Linear, jnp.ones((2, 3)), jnp.arange(2)),
        refuses(net.layers[0], jnp.ones((1, 3))),
        refuses(Net, "no list", key),
        refuses(total, net.table, jnp.ones((2, 3))),
        refuses(net, jnp.ones(3)),
    ]
