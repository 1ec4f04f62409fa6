"""Functions as ONNX models, by the converter `jax2onnx`."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms._filters.eval_shape import abstract_mask
from filtered_transforms._filters.partition import merge, split
from tree_surgery.extend import public

from .finalise import finalise_fn


@public("filtered_transforms.extend")
def to_onnx(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function as an ONNX model, for arguments like given ones.

    **Arguments:**

    - `fn`: any callable, itself possibly a PyTree, of trees of arrays and other values. Its arrays
        become constants of the model.

    **Returns:**

    A function of example arguments, of which a `jax.ShapeDtypeStruct` may stand for an array. It
    returns an `onnx.ModelProto`, whose inputs are the arrays among the arguments, and whose outputs
    those of the result, in the order of the leaves. Non-array leaves are fixed in the model.

    **Raises:** the result raises `ImportError` if `jax2onnx` is not installed. Where it does not
    convert an operation, `jax.export.export(jax.jit(...))` writes StableHLO instead, which every
    JAX reads again.

    !!! example

        ```
        model = to_onnx(lambda x, y: x + y)(jnp.array(1.0), jnp.array(2.0))
        onnxruntime.InferenceSession(model.SerializeToString())
        ```
    """

    def convert(*args: Any, **kwargs: Any) -> Any:
        try:
            converter = importlib.import_module("jax2onnx")
        except ImportError as error:
            raise ImportError(
                "`to_onnx` needs the converter `jax2onnx`, which cannot be imported here "
                f"({error}). Install it: `pip install 'filtered-transforms[onnx]'`. Without, "
                "`jax.export.export(jax.jit(...))` writes StableHLO."
            ) from error
        leaves, treedef = jtu.tree_flatten((args, kwargs))
        mask = abstract_mask(leaves)
        arrays, others = split(leaves, mask)

        def flat(*arrays: Any) -> tuple[Any, ...]:
            args, kwargs = treedef.unflatten(merge(mask, arrays, others))
            out = jtu.tree_leaves(fn(*args, **kwargs))
            return tuple(split(out, abstract_mask(out))[0])

        shapes = [jax.ShapeDtypeStruct(jnp.shape(array), array.dtype) for array in arrays]
        return converter.to_onnx(finalise_fn(flat), shapes)

    return convert
