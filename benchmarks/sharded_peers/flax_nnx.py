import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

WIDTH, HEADS, BLOCKS = 128, 4, 4
INIT = nnx.initializers.lecun_normal()


def split(*axes):
    return nnx.with_partitioning(INIT, axes)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norm1, self.norm2 = nnx.LayerNorm(WIDTH, rngs=rngs), nnx.LayerNorm(WIDTH, rngs=rngs)
        self.query, self.key, self.value = (
            nnx.Linear(WIDTH, WIDTH, use_bias=False, kernel_init=split("data", "model"), rngs=rngs)
            for _ in range(3)
        )
        self.output = nnx.Linear(
            WIDTH, WIDTH, use_bias=False, kernel_init=split("model", "data"), rngs=rngs
        )
        self.up = nnx.Linear(
            WIDTH, 4 * WIDTH, use_bias=False, kernel_init=split("data", "model"), rngs=rngs
        )
        self.down = nnx.Linear(
            4 * WIDTH, WIDTH, use_bias=False, kernel_init=split("model", "data"), rngs=rngs
        )

    def __call__(self, x):
        y = self.norm1(x)
        heads = (*x.shape[:-1], HEADS, WIDTH // HEADS)
        q, k, v = (f(y).reshape(heads) for f in (self.query, self.key, self.value))
        x = x + self.output(nnx.dot_product_attention(q, k, v).reshape(x.shape))
        return x + self.down(nnx.relu(self.up(self.norm2(x))))


class Model(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.List([Block(rngs) for _ in range(BLOCKS)])

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@nnx.jit
def make():
    model = Model(nnx.Rngs(0))
    state = nnx.state(model)
    nnx.update(model, jax.lax.with_sharding_constraint(state, nnx.get_partition_spec(state)))
    return model


def step(model, x):
    grads = nnx.grad(lambda model: jnp.mean(model(x) ** 2))(model)
    nnx.update(model, jax.tree.map(lambda p, g: p - 0.1 * g, nnx.state(model, nnx.Param), grads))


def setup(mesh, x):
    x = jax.device_put(x, NamedSharding(mesh, P("data")))
    return nnx.jit(step), make(), x
