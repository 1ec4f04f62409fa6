"""orbax-checkpoint: a model and the state of its optimiser are saved, restored and trained on."""

import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
from report import report


def make(seed):
    return eqx.nn.MLP(2, 1, 8, 2, key=jax.random.key(seed))


x = jnp.linspace(-1, 1, 20).reshape(10, 2)
optimiser = optax.adam(1e-2)


@eqx.filter_jit
def step(model, state):
    loss, grads = eqx.filter_value_and_grad(lambda m: jnp.mean((jax.vmap(m)(x) - 1) ** 2))(model)
    updates, state = optimiser.update(grads, state)
    return loss, eqx.apply_updates(model, updates), state


with report() as numbers, tempfile.TemporaryDirectory() as folder:
    model = make(0)
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))
    _, model, state = step(model, state)
    arrays, static = eqx.partition(model, eqx.is_array)

    # The plain way: arrays in, arrays out, into the structure of another model.
    path = Path(folder)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path / "one", {"model": arrays, "state": state})
        checkpointer.wait_until_finished()
        like = {
            "model": eqx.filter(make(1), eqx.is_array),
            "state": optimiser.init(eqx.filter(make(1), eqx.is_inexact_array)),
        }
        back = checkpointer.restore(
            path / "one", jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        )
    restored = eqx.combine(back["model"], static)
    numbers["equal"] = eqx.tree_equal(restored, model)
    numbers["next"] = step(restored, back["state"])[0], step(model, state)[0]
    numbers["arrays"] = back["model"]

    # Several steps under a manager that keeps two.
    with ocp.CheckpointManager(
        path / "many", options=ocp.CheckpointManagerOptions(max_to_keep=2)
    ) as manager:
        for number in range(4):
            _, model, state = step(model, state)
            arrays = eqx.filter(model, eqx.is_array)
            manager.save(number, args=ocp.args.StandardSave(arrays))
        manager.wait_until_finished()
        numbers["kept"] = list(manager.all_steps())
        last = manager.restore(
            manager.latest_step(),
            args=ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, arrays)),
        )
        numbers["last"] = last
        numbers["last equal"] = eqx.tree_equal(last, arrays)
