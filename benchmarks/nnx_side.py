"""The same work done by flax.nnx: the model as its modules, and its transformations."""

import types
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from case import Thunk
from flax import nnx
from model import batch, build

import pytree_module


def converted(node: Any, classes: dict[type, type] | None = None) -> Any:
    """A module of ours as one of flax.nnx: the same methods, a parameter for each array."""
    classes = {} if classes is None else classes
    if isinstance(node, jax.Array):
        return nnx.Param(node)
    if isinstance(node, tuple) and any(hasattr(item, "__dict__") for item in node):
        return nnx.List([converted(item, classes) for item in node])
    cls: Any = type(node)
    if not hasattr(cls, "__dataclass_fields__"):
        return node
    if cls not in classes:
        methods = {k: v for k, v in vars(cls).items() if k in ("__call__", "heads")}
        bodies = {k: getattr(v, "__wrapped__", v) for k, v in methods.items()}
        assert all(isinstance(body, types.FunctionType) for body in bodies.values())
        classes[cls] = type(cls.__name__, (nnx.Module,), bodies)
    new = classes[cls]()
    for name in cls.__dataclass_fields__:
        setattr(new, name, converted(getattr(node, name), classes))
    return new


def first(model: Any) -> jax.Array:
    return jax.tree.leaves(nnx.state(model))[0].sum()


def add_one(model: Any) -> None:
    # In place, which is how nnx gives a model back.
    nnx.update(model, jax.tree.map(lambda x: x + 1, nnx.state(model)))


def operations(
    names: Iterable[str], loss: Callable[..., Any], queued: Callable[[Any], Thunk]
) -> dict[str, Thunk]:
    """What is timed, by the names of the cases; in the order of `cases_filtered_transforms`."""
    model, x = converted(build(pytree_module)), batch()
    linear, rows = model.blocks[0].mlp.up, jnp.ones((16, x.shape[1]))

    class Holder(nnx.Module):
        def __init__(self, model: Any):
            self.model = model

        @nnx.jit
        def method(self) -> jax.Array:
            return first(self)

    holder = Holder(model)
    scalar, scalar_in = nnx.jit(lambda x: x + 1), jnp.float32(1)
    reduce, update = nnx.jit(first), nnx.jit(add_one)
    mapped = nnx.vmap(lambda m, x: m(x), in_axes=(None, 0))
    gradient, value_and_grad = nnx.grad(loss), nnx.value_and_grad(loss)
    thunks: list[Thunk] = [
        lambda: scalar(scalar_in),
        lambda: reduce(model),
        lambda: update(model),
        lambda: holder.method(),
        lambda: nnx.merge(*nnx.split(model)),
        lambda: mapped(linear, rows),
        lambda: gradient(linear, rows[0]),
        lambda: nnx.jit(lambda m, x: value_and_grad(m, x)).lower(model, x),
        lambda: nnx.jit(lambda m, x: mapped(m, x)).lower(model, x[None]),
        queued(nnx.jit),
    ]
    return dict(zip(names, thunks, strict=True))
