"""`gather_where_used`: parameters that are split over an axis, whole only while a block computes.

On automatic axes of a mesh XLA gathers parameters where it needs them. On explicit axes JAX refuses
the product of a batch and a matrix that are split over the same axis: the program has to say which
of the two is gathered. Here is decided what a block is. That gathered parameters are not kept for
the gradient, but gathered again, is decided here for a block and in `remat.py` for a `Stacked`.
"""

from typing import Any

import jax
import jax.tree_util as jtu
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from filtered_transforms import filter_checkpoint, is_array
from nn_layers._core.layer_protocol import StatefulLayer
from nn_layers._state.state import State
from nn_layers._types import T
from pytree_module import Module, field, module_from_fields
from tree_surgery.extend import public

from .block_wrapper import BlockWrapper, StatefulBlock
from .remat import GATHERED, keep_all_but_gathered
from .sequential import Sequential
from .shared import Shared
from .stacked import Stacked

_CONTAINERS = (Sequential, Shared, State)


@public
def gather_where_used(
    model: T, axis: str | tuple[str, ...] = "data", *, blocks: type | tuple[type, ...] = ()
) -> T:
    """The model, whose parameters are gathered over `axis` where they are used, a block at a time.

    For parameters that are split over the axis of the batch (`fsdp`) on *explicit* axes of a mesh.
    The optimiser and the files see the model as it is; call this at the start of the loss. The
    gradient of each parameter is split as the parameter is. On automatic axes, where XLA does the
    same by itself, nothing is changed.

    A block is a layer of this library, or an instance of `blocks`. It gathers its parameters when
    it is called or asked for an attribute, and gathers them again for the gradient. Within a
    `Stacked` each of its layers is a block, and one of them is whole at a time. How many blocks of
    a Python loop are, the scheduler of XLA decides. Arrays in other nodes are gathered at once.

    **Arguments:**

    - `model`: any tree. Tied weights come first: `gather_where_used(untie(model))`.
    - `axis`: the axis of the mesh, or several, over which parameters are gathered.
    - `blocks`: classes of your own, whose instances are gathered as one.

    **Returns:** a tree to be called as `model` is, within the same `jax.jit`.

    **Source:** Zhao et al., *PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel*,
    2023, for gathering by block, before use and again for the gradient.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
        from filtered_transforms import filter_grad, filter_jit
        from nn_layers import Linear, gather_where_used
        from tree_surgery import fsdp, tree_shardings

        mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Explicit,))
        layer = Linear(16, 16, use_bias=False, key=jax.random.key(0))
        with jax.set_mesh(mesh):
            layer = jax.device_put(layer, tree_shardings(layer, fsdp("data", min_size=0), mesh))
            x = jax.device_put(jnp.ones((16, 16)), NamedSharding(mesh, P("data")))

            @filter_jit
            @filter_grad
            def gradient(layer, x):
                return jnp.mean(jax.vmap(gather_where_used(layer))(x) ** 2)

            weight = gradient(layer, x).weight
        assert weight.sharding.is_equivalent_to(layer.weight.sharding, 2)
        ```
    """
    axes = (axis,) if isinstance(axis, str) else tuple(axis)
    own = blocks if isinstance(blocks, tuple) else (blocks,)

    def is_block(node: Any) -> bool:
        if isinstance(node, own):
            return True
        ours = type(node).__module__ == "nn_layers" and isinstance(node, Module)
        return ours and callable(node) and not isinstance(node, _CONTAINERS)

    def transform(node: Any) -> Any:
        if isinstance(node, Stacked):
            layers = _block(_layers_whole(node.layers), axes, again=node.remat is False)
            return module_from_fields(type(node), node, layers=layers)
        return _block(node, axes, again=True) if is_block(node) else _gathered(node, axes)

    return jtu.tree_map(transform, model, is_leaf=is_block)


class GatheredBlock(BlockWrapper):
    """A block whose parameters are gathered when it is called, or asked for an attribute.

    - `again`: whether they are gathered again for the gradient. Not within a `Stacked`, which
        decides what is kept.
    """

    axes: tuple[str, ...] = field(static=True)
    again: bool = field(static=True)

    def inner(self) -> Any:
        """The block, with its parameters gathered."""
        return _gathered(self.block, self.axes)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the block is called."""
        if not self.again:
            return self.inner()(*args, **kwargs)
        # Outside of a scan XLA would take the two gathers for one, and keep its result in between.
        call = filter_checkpoint(_call_gathered, policy=keep_all_but_gathered)
        return call(self.block, self.axes, args, kwargs)


class GatheredStatefulBlock(GatheredBlock, StatefulBlock):
    """The same, of a block that is called with a state."""


def _block(node: Any, axes: tuple[str, ...], again: bool) -> GatheredBlock:
    cls = GatheredStatefulBlock if isinstance(node, StatefulLayer) else GatheredBlock
    return cls(node, axes, again)


def _call_gathered(block: Any, axes: tuple[str, ...], args: Any, kwargs: Any) -> Any:
    return _gathered(block, axes)(*args, **kwargs)


def _gathered(tree: Any, axes: tuple[str, ...]) -> Any:
    """The tree, with its arrays whole over `axes`, as far as these are explicit."""
    return jtu.tree_map(lambda x: _gathered_array(x, axes) if is_array(x) else x, tree)


def _gathered_array(x: Any, axes: tuple[str, ...]) -> Any:
    sharding = jax.typeof(x).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return x
    spec = PartitionSpec(*(_without(entry, axes) for entry in sharding.spec))
    if spec == sharding.spec:
        return x
    whole = jax.sharding.reshard(x, NamedSharding(sharding.mesh, spec))
    return checkpoint_name(whole, GATHERED)


def _without(entry: Any, axes: tuple[str, ...]) -> Any:
    """One entry of a spec, less the axes."""
    names = (entry,) if isinstance(entry, str) else tuple(entry or ())
    left = tuple(name for name in names if name not in axes)
    return left[0] if len(left) == 1 else left or None


def _layers_whole(layers: Any) -> Any:
    """The layers of a `Stacked`; each whole on a device, since a scan cannot go over parts."""

    def whole(x: Any) -> Any:
        sharding = jax.typeof(x).sharding if is_array(x) else None
        if sharding is None or not sharding.spec or sharding.spec[0] is None:
            return x
        if AxisType.Explicit not in sharding.mesh.axis_types:
            return x
        spec = PartitionSpec(None, *sharding.spec[1:])
        return jax.sharding.reshard(x, NamedSharding(sharding.mesh, spec))

    return jtu.tree_map(whole, layers)
