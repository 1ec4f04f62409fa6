"""`tree_shardings`: rules by path, turned into a sharding for each array of a tree.

The rules stand beside the model and are no part of it: the same model runs on one device and on a
thousand, and its rules can be printed and tested without any of them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import jax.tree_util as jtu
from jax.sharding import NamedSharding, PartitionSpec

from tree_surgery._nodes.arrays import is_array_or_struct
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._public import public
from tree_surgery._select.selectors import SelectorLike, selection_mask
from tree_surgery._types import AnyMesh

from .partition_specs import check_spec

SpecFunction: TypeAlias = Callable[[str, Any, AnyMesh], PartitionSpec]
"""From the path of an array, the array and the mesh to a spec."""

ShardingRule: TypeAlias = tuple[SelectorLike, PartitionSpec | SpecFunction]
"""Which nodes are meant, and the spec of the arrays in them."""


@public
class ShardingRules(tuple[ShardingRule, ...]):
    """Rules that say where the arrays of a tree lie, as a value: a tuple of pairs.

    The first of a pair is a selector (see [`tree_surgery.where`][]), the second a
    `jax.sharding.PartitionSpec`, or a function of the path, the array and the mesh that returns
    one. The first rule that selects an array, or a node it is in, decides; an array that no rule
    selects is replicated. Rules are added: `ShardingRules([...]) + fsdp("data")`.

    They may stand wherever a tree of shardings may: in `filter_shard`, `filter_device_put`, and the
    `in_shardings` and `out_shardings` of `filter_jit`, under `jax.set_mesh`.

    ```python
    from jax.sharding import PartitionSpec as P
    from tree_surgery import ShardingRules, data_parallel

    rules = ShardingRules([("**.weight", P("model"))]) + data_parallel()
    assert len(rules) == 2 and isinstance(rules, ShardingRules)
    ```
    """

    __slots__ = ()

    def __new__(cls, rules: Iterable[ShardingRule] = ()) -> "ShardingRules":
        return super().__new__(cls, rules)

    def __add__(self, other: Iterable[ShardingRule]) -> "ShardingRules":  # pyright: ignore[reportIncompatibleMethodOverride]
        return ShardingRules((*self, *other))

    def __radd__(self, other: Iterable[ShardingRule]) -> "ShardingRules":
        return ShardingRules((*other, *self))

    def __repr__(self) -> str:
        return f"ShardingRules({list(self)!r})"


@public
def tree_shardings(
    tree: object, rules: Sequence[ShardingRule], mesh: AnyMesh, *, params: object = None
) -> Any:
    """The sharding of each array of a tree, by rules over paths.

    An array gets the spec of the first rule that selects it, or a node it is in. An array that no
    rule selects is replicated: each device has all of it.

    **Arguments:**

    - `tree`: a PyTree. Its arrays are those of JAX and NumPy, and `jax.ShapeDtypeStruct`s: the
        shardings of a model too large to be built are those of `jax.eval_shape(build)`.
    - `rules`: pairs of a selector (see [`tree_surgery.where`][]) and a
        `jax.sharding.PartitionSpec`, or a function of the path, the array and the mesh that returns
        one: a [`tree_surgery.ShardingRules`][] or a list. [`tree_surgery.fsdp`][] and
        [`tree_surgery.data_parallel`][] make such rules.
    - `mesh`: a `jax.sharding.Mesh`, or an `AbstractMesh` if no device is there yet.
    - `params`: for the state of an optimiser, the parameters that it was made from. The rules then
        speak of the paths in `params`. An array of the state whose path ends with the path of a
        parameter, and that has its shape, is laid out as that parameter: so are the moments of
        Adam, within any wrapper. All other arrays of the state, such as counts, are replicated.

    **Returns:**

    A tree of the same structure with a `jax.sharding.NamedSharding` for each array and `None` for
    every other leaf: for `filter_shard`, `filter_device_put` and the `in_shardings` and
    `out_shardings` of `filter_jit`.

    **Raises:**

    - `WhereError` if a rule selects nothing; `where.path(pattern, optional=True)` may.
    - [`tree_surgery.ShardingError`][] if the mesh lacks an axis, if a dimension does not divide, if
        a spec has more entries than the array has dimensions, or the same axis twice. It names the
        path, the shape and the mesh.

    ```python
    import jax
    import jax.numpy as jnp
    from jax.sharding import AbstractMesh, PartitionSpec as P
    from tree_surgery import tree_shardings

    mesh = AbstractMesh((4, 2), ("data", "model"))
    model = {"layers": [{"w": jnp.ones((8, 6)), "b": jnp.ones(6)}], "activation": jax.nn.relu}
    shardings = tree_shardings(model, [("layers.*.w", P("data", "model"))], mesh)
    assert shardings["layers"][0]["w"].spec == P("data", "model")
    assert shardings["layers"][0]["b"].spec == P()
    assert shardings["activation"] is None
    ```
    """
    if params is not None:
        return _of_state(tree, params, tree_shardings(params, rules, mesh), mesh)
    leaves, treedef = jtu.tree_flatten_with_path(tree)
    chosen = _chosen(tree, rules, len(leaves))
    return treedef.unflatten(
        [
            _sharding(chosen[i], path_str(path), leaf, mesh) if is_array_or_struct(leaf) else None
            for i, (path, leaf) in enumerate(leaves)
        ]
    )


def _chosen(tree: object, rules: Sequence[ShardingRule], count: int) -> list[Any]:
    """What the first rule that selects a leaf says of it."""
    chosen: list[Any] = [PartitionSpec()] * count
    # From the last rule to the first, so that the first is what remains. Each rule is asked, since
    # one that selects nothing is a mistake, also where others come before it.
    for selector, spec in reversed(list(rules)):
        hits = selection_mask(selector, tree)
        chosen = [spec if hit else other for hit, other in zip(hits, chosen, strict=True)]
    return chosen


def _sharding(spec: Any, path: str, leaf: Any, mesh: AnyMesh) -> NamedSharding:
    if not isinstance(spec, PartitionSpec) and callable(spec):
        spec = spec(path, leaf, mesh)
    check_spec(spec, path, tuple(leaf.shape), mesh)
    return NamedSharding(mesh, spec)


def _of_state(state: object, params: object, shardings: object, mesh: AnyMesh) -> Any:
    # Not the leaves of `shardings`: `None` stands there for non-array leaves.
    of_leaves = jtu.tree_structure(params).flatten_up_to(shardings)
    by_path = {
        path: (tuple(leaf.shape), sharding)
        for (path, leaf), sharding in zip(jtu.tree_leaves_with_path(params), of_leaves, strict=True)
        if is_array_or_struct(leaf)
    }
    replicated = NamedSharding(mesh, PartitionSpec())

    def place(path: tuple[Any, ...], leaf: Any) -> Any:
        if not is_array_or_struct(leaf):
            return None
        for start in range(len(path) + 1):  # the longest end of the path comes first
            found = by_path.get(path[start:])
            if found is not None and found[0] == tuple(leaf.shape):
                return found[1]
        return replicated

    return jtu.tree_map_with_path(place, state)
