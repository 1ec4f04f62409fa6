"""optax: a model trains under several optimisers, with masks, schedules and clipped gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from report import report

x = jnp.linspace(-1, 1, 32)[:, None]
y = jnp.sin(3 * x)
start = eqx.nn.MLP(1, 1, 16, 2, activation=jnp.tanh, key=jax.random.key(0))
arrays = eqx.filter(start, eqx.is_inexact_array)
weights = jax.tree.map(lambda leaf: leaf.ndim == 2, arrays)

OPTIMISERS = {
    "sgd": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": optax.adam(optax.cosine_decay_schedule(1e-2, 20)),
    # A tree of labels that is a module is callable: it stands in a function, as optax asks.
    "adamw": optax.adamw(1e-2, weight_decay=0.1, mask=lambda _: weights),
    "clipped": optax.chain(optax.clip_by_global_norm(0.5), optax.lion(1e-3)),
    "partitioned": optax.multi_transform(
        {"weight": optax.adam(1e-2), "bias": optax.set_to_zero()},
        lambda tree: jax.tree.map(lambda w: "weight" if w else "bias", weights),
    ),
    "accumulated": optax.MultiSteps(optax.adam(1e-2), every_k_schedule=3),
}


@eqx.filter_value_and_grad
def loss_of(model):
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


def train(optimiser, steps=20):
    model, state = start, optimiser.init(arrays)

    @eqx.filter_jit
    def step(model, state):
        loss, grads = loss_of(model)
        updates, state = optimiser.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return loss, eqx.apply_updates(model, updates), state

    losses = []
    for _ in range(steps):
        loss, model, state = step(model, state)
        losses.append(loss)
    return jnp.stack(losses), eqx.filter(model, eqx.is_array)


def by_lbfgs(steps=5):
    """With a line search, which calls the loss again."""
    params, static = eqx.partition(start, eqx.is_inexact_array)
    optimiser = optax.lbfgs()

    def loss(params):
        return jnp.mean((jax.vmap(eqx.combine(params, static))(x) - y) ** 2)

    @jax.jit
    def step(params, state):
        value, grad = optax.value_and_grad_from_state(loss)(params, state=state)
        updates, state = optimiser.update(
            grad, state, params, value=value, grad=grad, value_fn=loss
        )
        return value, optax.apply_updates(params, updates), state

    state = optimiser.init(params)
    for _ in range(steps):
        value, params, state = step(params, state)
    return value, params


with report() as numbers:
    for name, optimiser in OPTIMISERS.items():
        numbers[name] = train(optimiser)
    numbers["lbfgs"] = by_lbfgs()
