import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

WIDTH, HEADS, BLOCKS = 128, 4, 4
SPECS = {
    "norm1": {"scale": P(), "bias": P()},
    "attention": {
        "query": P("model", "data"),
        "key": P("model", "data"),
        "value": P("model", "data"),
        "output": P("data", "model"),
    },
    "norm2": {"scale": P(), "bias": P()},
    "mlp": {"up": P("model", "data"), "down": P("data", "model")},
}


def uniform(key, out, size):
    bound = 1 / size**0.5
    return jax.random.uniform(key, (out, size), minval=-bound, maxval=bound)


def make_norm():
    return {"scale": jnp.ones(WIDTH), "bias": jnp.zeros(WIDTH)}


def make_block(key):
    keys = jax.random.split(key, 6)
    names = ("query", "key", "value", "output")
    attention = {n: uniform(k, WIDTH, WIDTH) for n, k in zip(names, keys[:4], strict=False)}
    up, down = uniform(keys[4], 4 * WIDTH, WIDTH), uniform(keys[5], WIDTH, 4 * WIDTH)
    mlp = {"up": up, "down": down}
    return {"norm1": make_norm(), "attention": attention, "norm2": make_norm(), "mlp": mlp}


def make(key):
    return [make_block(key) for key in jax.random.split(key, BLOCKS)]


def norm(params, x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * params["scale"] + params["bias"]


def attention(params, x):
    heads = [
        (x @ params[name].T).reshape(*x.shape[:-1], HEADS, WIDTH // HEADS)
        for name in ("query", "key", "value")
    ]
    logits = jnp.einsum("bqhs,bkhs->bhqk", heads[0], heads[1]) / (WIDTH // HEADS) ** 0.5
    weights = jax.nn.softmax(logits, axis=-1)
    y = jnp.einsum("bhqk,bkhs->bqhs", weights, heads[2])
    return y.reshape(x.shape) @ params["output"].T


def loss(blocks, x):
    for block in blocks:
        x = x + attention(block["attention"], norm(block["norm1"], x))
        hidden = jax.nn.relu(norm(block["norm2"], x) @ block["mlp"]["up"].T)
        x = x + hidden @ block["mlp"]["down"].T
    return jnp.mean(x**2)


def step(blocks, x):
    grads = jax.grad(loss)(blocks, x)
    return jax.tree.map(lambda p, g: p - 0.1 * g, blocks, grads)


def setup(mesh, x):
    one = jax.tree.map(lambda spec: NamedSharding(mesh, spec), SPECS)
    places = [one] * BLOCKS
    blocks = jax.jit(make, out_shardings=places)(jax.random.key(0))
    x = jax.device_put(x, NamedSharding(mesh, P("data")))
    return jax.jit(step, donate_argnums=0, out_shardings=places), blocks, x
