"""What will a step of a 70-billion-parameter model need on 256 devices? Asked on a laptop.

    python examples/plan_70b.py
    python examples/plan_70b.py --model 405b --mesh 128x8

Nothing is computed, and no array is made: the model, the optimiser and the batch are described by
shapes, JAX compiles the step for as many virtual devices of the CPU, and `debug.plan` reads what
the compiler decided. From here downwards: the model, the step, the sharding rules and `main`.
"""

import argparse
import resource
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PRNGKeyArray

import equinoctial as eqx

# --------------------------------------------------------------------------------------- the model


class Size(NamedTuple):
    """The sizes of a transformer as those of LLaMA 3."""

    blocks: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    vocabulary: int = 128_256


SIZES = {
    "tiny": Size(2, 64, 128, 8, 4, 256),
    "8b": Size(32, 4096, 14_336, 32, 8),
    "70b": Size(80, 8192, 28_672, 64, 8),
    "405b": Size(126, 16_384, 53_248, 128, 8),
}
DTYPE = jnp.bfloat16


def constrain(x: Array) -> Array:
    """Activations lie with their sequences: one axis of the mesh splits the batch."""
    return jax.lax.with_sharding_constraint(x, P("data"))


class Block(eqx.Module):
    """Attention, then a gated perceptron; each adds to what comes in."""

    norm1: eqx.nn.RMSNorm
    attention: eqx.nn.MultiheadAttention
    rope: eqx.nn.RotaryPositionalEmbedding
    norm2: eqx.nn.RMSNorm
    gate: eqx.nn.Linear
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, size: Size, key: PRNGKeyArray):
        keys = jax.random.split(key, 4)
        self.norm1 = eqx.nn.RMSNorm(size.width, use_bias=False, dtype=DTYPE)
        self.norm2 = eqx.nn.RMSNorm(size.width, use_bias=False, dtype=DTYPE)
        self.attention = eqx.nn.MultiheadAttention(
            size.heads, size.width, num_kv_heads=size.kv_heads, dtype=DTYPE, key=keys[0]
        )
        self.rope = eqx.nn.RotaryPositionalEmbedding(size.width // size.heads, dtype=DTYPE)
        options: dict[str, Any] = {"use_bias": False, "dtype": DTYPE}
        self.gate = eqx.nn.Linear(size.width, size.hidden, **options, key=keys[1])
        self.up = eqx.nn.Linear(size.width, size.hidden, **options, key=keys[2])
        self.down = eqx.nn.Linear(size.hidden, size.width, **options, key=keys[3])

    def __call__(self, x: Array) -> Array:
        """One batch of sequences on."""
        return constrain(jax.vmap(self.of_sequence)(x))

    def of_sequence(self, x: Array) -> Array:
        turn = jax.vmap(self.rope, in_axes=1, out_axes=1)  # each head
        rotate = lambda q, k, v: (turn(q), turn(k), v)  # noqa: E731
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y, is_causal=True, process_heads=rotate)
        y = jax.vmap(self.norm2)(x)
        y = jax.nn.silu(jax.vmap(self.gate)(y)) * jax.vmap(self.up)(y)
        return x + jax.vmap(self.down)(y)


class Transformer(eqx.Module):
    embedding: eqx.nn.Embedding
    blocks: eqx.nn.Stacked[Block]
    norm: eqx.nn.RMSNorm
    head: eqx.nn.Linear

    def __init__(self, size: Size, key: PRNGKeyArray):
        key1, key2, key3 = jax.random.split(key, 3)
        self.embedding = eqx.nn.Embedding(size.vocabulary, size.width, dtype=DTYPE, key=key1)
        self.blocks = eqx.nn.Stacked(
            lambda key: Block(size, key), size.blocks, remat=True, key=key2
        )
        self.norm = eqx.nn.RMSNorm(size.width, use_bias=False, dtype=DTYPE)
        self.head = eqx.nn.Linear(
            size.width, size.vocabulary, use_bias=False, dtype=DTYPE, key=key3
        )

    def __call__(self, tokens: Array) -> Array:
        """The logits of what follows each token, for a batch of sequences."""
        x = constrain(jax.vmap(jax.vmap(self.embedding))(tokens))
        x = self.blocks(x)
        return jax.vmap(jax.vmap(self.head))(jax.vmap(jax.vmap(self.norm))(x))


# ---------------------------------------------------------------------------------------- the step

OPTIMISER = optax.adamw(1e-4)


def parameters(model: Transformer) -> Transformer:
    return eqx.filter(model, eqx.is_inexact_array)


def loss_of(model: Transformer, tokens: Array) -> Array:
    logits = model(tokens).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], tokens[:, 1:]).mean()


@eqx.filter_jit(donate=("model", "state"))
def step(model: Transformer, state: Any, tokens: Array) -> tuple[Transformer, Any, Array]:
    loss, grads = eqx.filter_value_and_grad(loss_of)(model, tokens)
    updates, state = OPTIMISER.update(grads, state, parameters(model))
    return eqx.apply_updates(model, updates), state, loss


# -------------------------------------------------------------------------- sharding, by path

# Heads and hidden values over "model"; every array besides over "data", its largest dimension.
RULES = eqx.fsdp(
    "data",
    over=eqx.ShardingRules(
        [
            ("**.gate.weight", P(None, "model", None)),
            ("**.up.weight", P(None, "model", None)),
            ("**.down.weight", P(None, None, "model")),
            ("head.weight", P("model", None)),
        ]
    )
    + eqx.nn.tensor_parallel("model"),
)


def described(size: Size, mesh: AbstractMesh, batch: int, length: int) -> tuple[Any, Any, Any]:
    """Model, state of the optimiser and tokens: shapes, dtypes and places, and no numbers."""
    model = eqx.filter_eval_shape(lambda: Transformer(size, jax.random.key(0)))
    state = eqx.filter_eval_shape(lambda model: OPTIMISER.init(parameters(model)), model)
    tokens = jax.ShapeDtypeStruct(
        (batch, length), jnp.int32, sharding=NamedSharding(mesh, P("data"))
    )
    state = eqx.filter_shard(state, eqx.tree_shardings(state, RULES, mesh, params=model))
    return eqx.filter_shard(model, eqx.tree_shardings(model, RULES, mesh)), state, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description="Plan a step of a large model.")
    parser.add_argument("--model", choices=SIZES, default="70b")
    parser.add_argument("--mesh", default="32x8", help="data x model (default: 32x8)")
    parser.add_argument(
        "--batch", type=int, help="sequences (default: 64, and one for each part of them at least)"
    )
    parser.add_argument("--length", type=int, default=4096, help="tokens each (default: 4096)")
    parser.add_argument("--out", type=Path, default=Path("out/plan"))
    options = parser.parse_args()

    start = time.perf_counter()
    data, model_axis = map(int, options.mesh.split("x"))
    mesh = AbstractMesh((data, model_axis), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    batch = options.batch or max(64, data)
    model, state, tokens = described(SIZES[options.model], mesh, batch, options.length)
    print(f"{eqx.tree_size(model).parameters / 1e9:.4g} billion parameters")
    found = eqx.debug.plan(step, model, state, tokens, devices=mesh.size)
    print(found)
    options.out.mkdir(parents=True, exist_ok=True)
    picture = options.out / f"{options.model}.svg"
    picture.write_text(found.svg())
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # of Linux, in kB
    print(f"Picture: {picture}\nPlanned in {seconds:.0f} s with {memory:.2g} GB of memory here.")


if __name__ == "__main__":
    main()
