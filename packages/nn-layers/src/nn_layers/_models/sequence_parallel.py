"""`sequence_parallel`: what blocks hand on to each other is split along the sequence.

Under tensor parallelism each device would hold all of it, and keep it for the gradient. Here is
decided where the split is said: at the input and the output of each block. What is gathered within
a block XLA decides; on explicit axes the block gets its whole input.
"""

from typing import Any

import jax
import jax.tree_util as jtu
from jax.sharding import AxisType, PartitionSpec

from filtered_transforms import is_array
from nn_layers._core.layer_protocol import StatefulLayer
from nn_layers._core.shape_errors import ShapeError
from nn_layers._types import T
from pytree_module import field, module_from_fields
from tree_surgery.extend import public

from .block_wrapper import BlockWrapper, StatefulBlock
from .stacked import Stacked


@public
def sequence_parallel(model: T, axis: str = "model", *, blocks: type | tuple[type, ...] = ()) -> T:
    """The model, whose blocks hand on activations that are split along the sequence over `axis`.

    What stands between two blocks, and is kept for the gradient, then takes one part of the memory
    on each device of `axis`. Use it with [`nn_layers.tensor_parallel`][] over the same axis, at the
    start of the loss, as `gather_where_used`, with which it composes (this one first).

    **Arguments:**

    - `model`: any tree.
    - `axis`: an axis of the mesh of `jax.set_mesh`.
    - `blocks`: classes of your own, whose instances are blocks. The layers of a `Stacked` are. A
        block is called as `block(x, ...)` and returns what is like `x`: an array
        `(length, features)`, or a pair of it and something else. `jax.vmap` adds the batch.

    **Returns:** a tree to be called as `model` is, within `jax.jit`.

    **Raises:** `ShapeError`, from a call, if the length does not divide by the size of `axis`.

    **Source:** [Korthikanti et al., "Reducing Activation Recomputation in Large Transformer
    Models", 2022](https://arxiv.org/abs/2205.05198).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from jax.sharding import AxisType
        from filtered_transforms import filter_jit
        from nn_layers import MultiheadAttention, Stacked, sequence_parallel
        from pytree_module import Module

        class Block(Module):
            attention: MultiheadAttention

            def __call__(self, x):
                return x + self.attention(x, x, x)

        def make(key):
            return Block(MultiheadAttention(2, 4, key=key))

        model, x = Stacked(make, 3, key=jax.random.key(0)), jnp.ones((8, 6, 4))
        mesh = jax.make_mesh((1,), ("model",), axis_types=(AxisType.Auto,))
        with jax.set_mesh(mesh):
            y = filter_jit(lambda model, x: jax.vmap(sequence_parallel(model))(x))(model, x)
        assert jnp.allclose(y, jax.vmap(model)(x), atol=1e-5)
        ```
    """
    own = blocks if isinstance(blocks, tuple) else (blocks,)

    def transform(node: Any) -> Any:
        if isinstance(node, Stacked):
            return module_from_fields(type(node), node, layers=_block(node.layers, axis))
        return _block(node, axis) if isinstance(node, own) else node

    return jtu.tree_map(transform, model, is_leaf=lambda x: isinstance(x, (Stacked, *own)))


class SequenceParallelBlock(BlockWrapper):
    """A block whose input and output are split along the sequence."""

    axis: str = field(static=True)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As the block is called."""
        # Said of both: the one is kept for the gradient, the other is what comes next.
        out = self.block(_whole(_split(self, x), self.axis), *args, **kwargs)
        if isinstance(out, tuple):
            first, *rest = out
            return _split(self, first), *rest
        return _split(self, out)


class SequenceParallelStatefulBlock(SequenceParallelBlock, StatefulBlock):
    """The same, of a block that is called with a state."""


def _block(node: Any, axis: str) -> SequenceParallelBlock:
    stateful = isinstance(node, StatefulLayer)
    return (SequenceParallelStatefulBlock if stateful else SequenceParallelBlock)(node, axis)


def _split(layer: SequenceParallelBlock, tree: Any) -> Any:
    return jtu.tree_map(lambda x: _split_array(layer, x) if is_array(x) else x, tree)


def _split_array(layer: SequenceParallelBlock, x: Any) -> Any:
    mesh = jax.sharding.get_abstract_mesh()
    parts = mesh.shape.get(layer.axis)
    if parts is None:
        raise ValueError(
            f"`sequence_parallel`: there is no axis {layer.axis!r} in the mesh, which has "
            f"{dict(mesh.shape)}. Call it within `jax.set_mesh(mesh)`."
        )
    if x.ndim < 2 or x.shape[0] % parts:
        raise ShapeError(
            f"`sequence_parallel`: the input and output of `{type(layer.block).__name__}` must be "
            f"of shape (length, features) with a length that divides by {parts}, the size of "
            f"{layer.axis!r}, but one is of shape {x.shape}.",
            layer.block,
            ("length", "features"),
            x.shape,
        )
    if AxisType.Explicit in mesh.axis_types:
        rest = jax.typeof(x).sharding.spec[1:]
        return jax.sharding.reshard(x, PartitionSpec(layer.axis, *rest))
    free = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(layer.axis, *free))


def _whole(tree: Any, axis: str) -> Any:
    """The tree, with its arrays whole along the sequence where the axis is explicit."""
    if AxisType.Explicit not in jax.sharding.get_abstract_mesh().axis_types:
        return tree

    def whole(x: Any) -> Any:
        rest = jax.typeof(x).sharding.spec[1:]
        return jax.sharding.reshard(x, PartitionSpec(None, *rest)) if is_array(x) else x

    return jtu.tree_map(whole, tree)
