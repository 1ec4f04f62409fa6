"""What our programs send between devices is what the same ones in plain JAX send."""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import equinoctial as eqx

MESHES = {
    "tensor parallel": (1, 2),
    "fsdp": (2, 1),
}
WIDTH, HIDDEN, HEADS, LENGTH, BATCH = 16, 64, 4, 6, 4


class Block(eqx.Module):
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.attention(x, x, x)
        return x + jax.vmap(self.mlp)(x)


def by_hand(p: dict[str, Any], x: jax.Array) -> jax.Array:
    """The same block, on a dictionary of its matrices."""
    q, k, v = (
        jnp.einsum("ld,ed->le", x, p[name]).reshape(LENGTH, HEADS, WIDTH // HEADS) for name in "qkv"
    )
    weights = jax.nn.softmax(jnp.einsum("qhd,khd->hqk", q / (WIDTH // HEADS) ** 0.5, k))
    mixed = jnp.einsum("hqk,khd->qhd", weights, v).reshape(LENGTH, WIDTH)
    x = x + mixed @ p["o"].T
    hidden = jax.nn.relu(x @ p["up"].T + p["up_bias"][None])
    return x + hidden @ p["down"].T + p["down_bias"][None]


def loss_of(call: Any) -> Any:
    return lambda model, x: jnp.mean(jax.vmap(lambda x: call(model, x))(x) ** 2)


@pytest.mark.parametrize("name", MESHES)
def test_a_block_forwards_and_backwards(name: str):
    mesh = jax.make_mesh(
        MESHES[name], ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:2]
    )
    keys = jax.random.split(jax.random.key(0))
    block = Block(
        eqx.nn.MultiheadAttention(HEADS, WIDTH, key=keys[0]),
        eqx.nn.MLP(WIDTH, WIDTH, HIDDEN, 1, key=keys[1]),
    )
    rules = eqx.fsdp("data", min_size=0, over=eqx.nn.tensor_parallel("model"))
    x = jax.random.normal(keys[0], (BATCH, LENGTH, WIDTH))
    with jax.set_mesh(mesh):
        block = eqx.filter_device_put(block, rules)
        x = jax.device_put(x, NamedSharding(mesh, P("data")))
        heads, (up, down) = block.attention, block.mlp.layers
        params = {
            "q": heads.query_proj.weight,
            "k": heads.key_proj.weight,
            "v": heads.value_proj.weight,
            "o": heads.output_proj.weight,
            "up": up.weight,
            "up_bias": up.bias,
            "down": down.weight,
            "down_bias": down.bias,
        }
        places = jax.tree.map(lambda p: p.sharding, params)
        plain = jax.jit(jax.value_and_grad(loss_of(by_hand)), out_shardings=(None, places))
        where = jax.tree.map(lambda p: p.sharding, eqx.filter(block, eqx.is_array))
        ours = eqx.filter_jit(
            eqx.filter_value_and_grad(loss_of(lambda block, x: block(x))),
            out_shardings=(None, where),
        )
        assert jnp.allclose(ours(block, x)[0], plain(params, x)[0], rtol=1e-5)
        found, expected = eqx.debug.plan(ours, block, x), eqx.debug.plan(plain, params, x)
    assert sent(found) == sent(expected) and sent(found)


def sent(plan: Any) -> dict[str, int]:
    """Bytes by kind. How many are put together in one, XLA decides."""
    sizes: Counter[str] = Counter()
    for one in plan.collectives:
        sizes[one.kind] += one.bytes
    return dict(sizes)
