"""quax: low-rank adaptation, unitful, named, and zero arrays in models and functions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import quax
from quax.examples import lora, named, unitful, zero
from report import report

key = jax.random.key(0)
x = jnp.linspace(-1.0, 1.0, 4)


def adapted():
    """The loss of a model that is adapted in a few directions, and its gradient."""
    model = eqx.nn.MLP(4, 2, 8, 2, key=key)
    adapted = lora.loraify(model, rank=2, scale=0.1, key=jax.random.key(1))

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(model):
        out = quax.quaxify(lambda model, x: jax.vmap(model)(x))(model, jnp.stack([x, 2 * x]))
        return jnp.sum(out**2)

    value, grads = loss(adapted)
    # The first factor is zero at first: one step, so that the adaptation counts.
    adapted = eqx.apply_updates(adapted, jax.tree.map(lambda g: -0.1 * g, grads))
    return value, eqx.filter(grads, eqx.is_array), loss(adapted)[0]


def in_units():
    metres = unitful.Unitful(x, unitful.meters)
    seconds = unitful.Unitful(jnp.array(2.0), unitful.seconds)
    speed = quax.quaxify(jax.lax.mul)(metres, seconds)
    try:
        quax.quaxify(jnp.add)(metres, seconds)
    except ValueError:
        return speed.array, True
    return speed.array, False


def by_names():
    rows, columns, inner = named.Axis(3), named.Axis(2), named.Axis(4)
    left = named.NamedArray(jnp.arange(12.0).reshape(3, 4), (rows, inner))
    right = named.NamedArray(jnp.arange(8.0).reshape(4, 2), (inner, columns))
    product = quax.quaxify(jnp.matmul)(left, right)
    return product.array


def of_zeros():
    nothing = zero.Zero((4,), jnp.float32)
    total = quax.quaxify(jnp.add)(x, nothing)
    product = quax.quaxify(jnp.multiply)(x, nothing)
    return total, product.materialise(), isinstance(product, zero.Zero)


with report() as numbers:
    numbers["lora"] = adapted()
    numbers["unitful"] = in_units()
    numbers["named"] = by_names()
    numbers["zero"] = of_zeros()
