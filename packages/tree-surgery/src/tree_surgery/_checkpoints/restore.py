"""Read from a checkpoint what fits a tree, each array to where the tree has it.

Here is decided what is read at all, and what orbax puts on devices itself. An array whose leaf in
`like` has a place is read in parts, by each process its own, and cast on the way. Everything else
comes as a NumPy array, and becomes a leaf as those of a file do (`_safetensors/fit_leaves.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from tree_surgery._nodes.arrays import is_key
from tree_surgery._nodes.leaf_info import castable, is_jax
from tree_surgery._safetensors.fit_leaves import CastTo, MakeLeaf, cast_target, fit_leaves
from tree_surgery._safetensors.leaf_names import name_leaves
from tree_surgery._safetensors.reader import make_leaf
from tree_surgery._safetensors.rename import Rename
from tree_surgery._streams.host_arrays import placement

from .stored_tree import Stored, StoredLeaf, StoredTree

ReadArrays = Callable[[dict[str, Any]], dict[str, Any]]
"""A function that reads arrays by name. It takes what orbax calls the restore arguments of each."""


def read_checkpoint(
    stored: StoredTree,
    read: ReadArrays,
    like: Any,
    *,
    strict: bool,
    rename: Rename | None,
    dtype: CastTo,
    source: str,
) -> Any:
    """Read a tree. See `Checkpoints.load`. `source`: what an error calls the checkpoint."""
    named = name_leaves(like)
    found = stored.found
    fit = fit_leaves(named.leaves, found, strict, rename, dtype, source)
    wanted = {old: new for old, new in fit.names.items() if new in fit.makers}
    how = {
        old: _how_to_read(stored.leaves[old], named.leaves[new], dtype)
        for old, new in wanted.items()
        if old in stored.leaves and stored.leaves[old].stored is not Stored.NOTHING
    }
    arrays = read(how) if how else {}
    made: dict[str, Any] = {}
    for old, new in wanted.items():
        make = fit.makers[new]
        if old in stored.leaves:
            array = arrays.pop(old, None)  # a cast has copied it: it is not held any longer
            made[new] = _make(new, stored.leaves[old], array, make, named.leaves[new])
        else:
            made[new] = make(found[old])
    tree = named.rebuild({**named.leaves, **made})
    return tree if strict else (tree, fit.report)


def read_on_host(read: ReadArrays, name: str) -> np.ndarray[Any, Any]:
    """One array as orbax stored it, as an array of NumPy."""
    return read({name: _on_host()})[name]


def _make(name: str, leaf: StoredLeaf, array: Any, make: MakeLeaf, like: Any) -> Any:
    if leaf.stored in (Stored.ARRAY, Stored.WORDS):
        return make(array)
    data = np.empty(0, np.uint8) if leaf.stored is Stored.NOTHING else array
    return make_leaf(name, data, leaf.header, make, like)


def _how_to_read(leaf: StoredLeaf, like: Any, dtype: CastTo) -> Any:
    """The restore arguments of orbax for one leaf."""
    there = leaf.header.dtype
    if leaf.stored is not Stored.ARRAY or there is None or not is_jax(like) or is_key(like):
        return _on_host()
    sharding = _on_devices(placement(like))
    wanted = there
    if dtype is not None and castable(there, cast_target(like, dtype)):
        wanted = cast_target(like, dtype)
    # An integer that does not fit is an error, which only the whole array shows. A dtype that JAX
    # has only with `jax_enable_x64` is converted by NumPy.
    exact = wanted == there or jnp.issubdtype(there, jnp.inexact)
    if sharding is None or not exact or jax.dtypes.canonicalize_dtype(wanted) != wanted:
        return _on_host()
    import orbax.checkpoint as ocp

    return ocp.ArrayRestoreArgs(restore_type=jax.Array, sharding=sharding, dtype=wanted)


def _on_host() -> Any:
    import orbax.checkpoint as ocp

    return ocp.RestoreArgs(restore_type=np.ndarray)


def _on_devices(sharding: Any) -> Sharding | None:
    """The sharding over devices. A `PartitionSpec` is one over the mesh of the context."""
    if not isinstance(sharding, PartitionSpec):
        return sharding
    mesh = jax.device_put(np.zeros(()), PartitionSpec()).sharding
    assert isinstance(mesh, NamedSharding)  # `placement` has checked that there is a mesh
    return NamedSharding(mesh.mesh, sharding)


def restore_item(how: Mapping[str, Any], stored: StoredTree) -> tuple[dict[str, Any], Any]:
    """The item and the restore arguments for orbax, which names all arrays of the checkpoint.

    Those that nobody asked for have a placeholder, and are not read.
    """
    import orbax.checkpoint as ocp

    names = [n for n, leaf in stored.leaves.items() if leaf.stored is not Stored.NOTHING]
    item = {name: 0 if name in how else ocp.PLACEHOLDER for name in names}
    return item, {name: how.get(name, ocp.RestoreArgs()) for name in names}
