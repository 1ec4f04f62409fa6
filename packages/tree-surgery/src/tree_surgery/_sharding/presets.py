"""Rules of sharding that many models share: copies everywhere, or every parameter split.

`fsdp` looks at shapes alone, so it needs no names of layers. What a layer's dimensions mean is
known where the layer is: rules for tensor parallelism are in `nn_layers`.
"""

import math
from collections.abc import Iterable
from typing import Any

from jax.sharding import PartitionSpec

from tree_surgery._public import public
from tree_surgery._select.selectors import PathSelector
from tree_surgery._types import AnyMesh

from .partition_specs import Axes, axes_by_dimension, parts, spec_of
from .tree_shardings import ShardingRule, ShardingRules, SpecFunction

_ALL = PathSelector("**", optional=True)


@public
def data_parallel() -> ShardingRules:
    """Rules by which each device has all parameters, and works on its part of the batch.

    ```python
    import jax.numpy as jnp
    from jax.sharding import AbstractMesh, PartitionSpec as P
    from tree_surgery import data_parallel, tree_shardings

    mesh = AbstractMesh((4,), ("data",))
    assert tree_shardings({"w": jnp.ones((8, 2))}, data_parallel(), mesh)["w"].spec == P()
    ```
    """
    return ShardingRules([(_ALL, PartitionSpec())])


@public
def fsdp(
    axis: str | tuple[str, ...] = "data",
    *,
    min_size: int = 2**14,
    over: Iterable[ShardingRule] = (),
) -> ShardingRules:
    """Rules by which each parameter is split over `axis` (fully sharded data parallelism).

    The largest dimension that divides is split; of equal ones the first. Memory for parameters,
    gradients and the state of the optimiser falls as one over the number of devices.

    **Arguments:**

    - `axis`: an axis of the mesh, or several, over which to split.
    - `min_size`: arrays of fewer elements are replicated: splitting them costs more time than it
        saves memory.
    - `over`: rules that come first, such as those of tensor parallelism. `axis` then splits a
        dimension that they leave whole.

    **Returns:**

    A [`tree_surgery.ShardingRules`][].

    **Raises:** [`tree_surgery.ShardingError`][], from `tree_shardings`, if the mesh lacks `axis`.

    Source: Zhao et al., *PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel*, 2023;
    Rajbhandari et al., *ZeRO*, 2020.

    ```python
    import jax.numpy as jnp
    from jax.sharding import AbstractMesh, PartitionSpec as P
    from tree_surgery import fsdp, tree_shardings

    mesh = AbstractMesh((4, 2), ("data", "model"))
    model = {"w": jnp.ones((6, 8)), "b": jnp.ones(8)}
    rules = fsdp("data", min_size=16, over=[("w", P("model"))])
    shardings = tree_shardings(model, rules, mesh)
    assert shardings["w"].spec == P("model", "data") and shardings["b"].spec == P()
    ```
    """
    axes = (axis,) if isinstance(axis, str) else tuple(axis)
    first = [(selector, FullyShard(axes, min_size, spec)) for selector, spec in over]
    return ShardingRules([*first, (_ALL, FullyShard(axes, min_size, PartitionSpec()))])


class FullyShard:
    """A spec with more axes, on the largest dimension that is whole and divides."""

    __slots__ = ("axes", "min_size", "spec")

    def __init__(
        self, axes: tuple[str, ...], min_size: int, spec: PartitionSpec | SpecFunction
    ) -> None:
        self.axes = axes
        self.min_size = min_size
        self.spec = spec

    def __repr__(self) -> str:
        return f"FullyShard({self.axes!r}, min_size={self.min_size}, over={self.spec!r})"

    def __call__(self, path: str, leaf: Any, mesh: AnyMesh) -> PartitionSpec:
        given = self.spec
        spec = given if isinstance(given, PartitionSpec) else given(path, leaf, mesh)
        shape = tuple(leaf.shape)
        if len(spec) > len(shape):
            return spec  # `tree_shardings` says what is wrong with it, with path and mesh
        if any(name not in mesh.shape for name in self.axes):
            return PartitionSpec(*spec, self.axes)  # the same
        axes = axes_by_dimension(spec, len(shape))
        largest = self._largest(shape, axes, parts(self.axes, mesh))
        if math.prod(shape) < self.min_size or largest is None:
            return spec
        axes[largest] = self.axes
        return spec_of(axes)

    def _largest(self, shape: tuple[int, ...], axes: list[Axes], count: int) -> int | None:
        """The largest dimension that is whole and divides, if these axes split no other."""
        if any(name in self.axes for names in axes for name in names):
            return None
        free = [i for i, n in enumerate(shape) if not axes[i] and n > 0 and n % count == 0]
        return max(free, key=lambda i: shape[i], default=None)
