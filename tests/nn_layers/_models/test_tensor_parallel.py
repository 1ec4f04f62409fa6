"""`tensor_parallel`: the numbers of one device, and one all-reduce where Megatron has one."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

from filtered_transforms import filter_device_put, filter_grad, filter_jit
from nn_layers import MLP, Embedding, MultiheadAttention, Stacked, tensor_parallel
from pytree_module import Module
from tree_surgery import ShardingError, fsdp, tree_shardings

KEY = jax.random.key(0)
MESH = AbstractMesh((4, 2), ("data", "model"))


class Block(Module):
    attention: MultiheadAttention
    mlp: MLP

    def __init__(self, key: Any):
        one, two = jax.random.split(key)
        self.attention = MultiheadAttention(
            4, 16, num_kv_heads=2, use_query_bias=True, use_output_bias=True, key=one
        )
        self.mlp = MLP(16, 16, 32, depth=1, activation=jax.nn.gelu, key=two)

    def __call__(self, x: Any) -> Any:
        x = x + self.attention(x, x, x, is_causal=True)
        return x + jax.vmap(self.mlp)(x)


class Model(Module):
    embedding: Embedding
    blocks: Any

    def __call__(self, tokens: Any) -> Any:
        return self.blocks(jax.vmap(self.embedding)(tokens))


def model(stacked: bool) -> Model:
    blocks = Stacked(Block, 3, key=KEY) if stacked else Block(KEY)
    return Model(Embedding(10, 16, key=KEY), blocks)


def specs(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): sharding.spec for path, sharding in leaves}


@pytest.mark.parametrize("stacked", [False, True])
def test_specs(stacked: bool):
    found = specs(tree_shardings(model(stacked), tensor_parallel(), MESH))
    front, lead = (".blocks.layers", (None,)) if stacked else (".blocks", ())
    split = {
        f"{front}.attention.query_proj.weight": P(*lead, "model", None),
        f"{front}.attention.query_proj.bias": P(*lead, "model"),
        f"{front}.attention.key_proj.weight": P(*lead, "model", None),
        f"{front}.attention.value_proj.weight": P(*lead, "model", None),
        f"{front}.attention.output_proj.weight": P(*lead, None, "model"),
        f"{front}.mlp.layers[0].weight": P(*lead, "model", None),
        f"{front}.mlp.layers[0].bias": P(*lead, "model"),
        f"{front}.mlp.layers[1].weight": P(*lead, None, "model"),
        ".embedding.weight": P("model", None),
    }
    assert {path: spec for path, spec in found.items() if spec != P()} == split


def test_an_embedding_that_does_not_divide_is_split_by_features():
    found = tree_shardings(Embedding(7, 16, key=KEY), tensor_parallel(), MESH)
    assert found.weight.spec == P(None, "model")
    with pytest.raises(ShardingError, match=r"weight.*does not divide"):
        tree_shardings(Embedding(7, 15, key=KEY), tensor_parallel(), MESH)


def test_with_fsdp_each_matrix_is_split_over_both_axes():
    found = specs(
        tree_shardings(Block(KEY), fsdp("data", min_size=0, over=tensor_parallel()), MESH)
    )
    for path, spec in found.items():
        if path.endswith("weight"):
            assert sorted(map(str, spec)) == ["data", "model"], path


@pytest.mark.parametrize("stacked", [False, True])
def test_the_numbers_are_those_of_one_device(stacked: bool):
    mesh = jax.make_mesh((2,), ("model",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    one = model(stacked)
    tokens = jnp.array([1, 3, 9, 0, 2])

    def loss(m: Model, tokens: Any) -> Any:
        return jnp.mean(m(tokens) ** 2)

    expected = filter_jit(filter_grad(loss))(one, tokens)
    with jax.set_mesh(mesh):
        split = filter_device_put(one, tensor_parallel())
        grads = filter_jit(filter_grad(loss))(split, tokens)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(a, jax.device_get(b), rtol=1e-4, atol=1e-6)
    shards = [x for x in jax.tree.leaves(split) if isinstance(x, jax.Array)]
    assert sum(x.addressable_shards[0].data.nbytes for x in shards) < 0.6 * sum(
        x.nbytes for x in shards
    )


def test_one_all_reduce_for_attention_and_one_for_the_mlp():
    mesh = jax.make_mesh((2,), ("model",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    x = jnp.ones((5, 16))
    with jax.set_mesh(mesh):
        split = filter_device_put(Block(KEY), tensor_parallel())
        x = jax.device_put(x, P())
        text = filter_jit(lambda block, x: block(x)).lower(split, x).compile().as_text()
    collectives = re.findall(r"= \S+ (all-reduce|all-gather|all-to-all|collective-permute)\(", text)
    assert collectives == ["all-reduce"] * 2
