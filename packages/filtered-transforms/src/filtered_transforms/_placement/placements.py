"""Where each array of a tree is to lie: what users may say of it, and how one array is put there.

`filter_shard`, `filter_device_put` and the shardings of `filter_jit` take the same trees.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.tree_util as jtu
from jax.sharding import (
    AbstractMesh,
    AxisType,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
)

import tree_surgery
from filtered_transforms._filters.if_array import if_array
from filtered_transforms._filters.predicates import is_array
from tree_surgery import path_str


def placements_of(where: Any, tree: Any, name: str) -> list[Any]:
    """For each leaf of `tree` a device, a sharding, a partition spec, or `None`.

    **Raises:** `ValueError` if `where` is no prefix of `tree`; `TypeError` if it holds something
    that says nothing of where an array is.
    """
    if isinstance(where, tree_surgery.ShardingRules):
        where = _by_rules(where, tree, name)
    places, treedef = jtu.tree_flatten(where, is_leaf=is_place)
    paths = jtu.tree_leaves_with_path(tree)
    if treedef == jtu.tree_structure(0):
        return [_place(places[0], path, leaf, name) for path, leaf in paths]
    try:
        subtrees = treedef.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(
            f"`{name}` does not fit what it is for: {error} `{name}` is {where!r}; the structure "
            f"is {jtu.tree_structure(tree)}."
        ) from None
    repeated = [
        place
        for place, subtree in zip(places, subtrees, strict=True)
        for _ in jtu.tree_leaves(subtree)
    ]
    return [
        _place(place, path, leaf, name) for place, (path, leaf) in zip(repeated, paths, strict=True)
    ]


def _by_rules(rules: "tree_surgery.ShardingRules", tree: Any, name: str) -> Any:
    """The specs by rules; not shardings, whose mesh would have no devices within a trace."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        raise ValueError(
            f"`{name}` is `{rules!r}`, which say where arrays lie on a mesh, and there is none "
            f"here. Call it under `with jax.set_mesh(mesh):`, or pass the shardings that "
            f"`tree_surgery.tree_shardings(tree, rules, mesh)` gives."
        )
    shardings = tree_surgery.tree_shardings(tree, rules, mesh)
    return jtu.tree_map(lambda sharding: sharding.spec, shardings)


def is_place(x: Any) -> bool:
    """Whether `x` says of an array where it lies, without being called."""
    return x is None or isinstance(x, (PartitionSpec, Sharding, jax.Device, if_array))


def _place(place: Any, path: Any, leaf: Any, name: str) -> Any:
    if not is_array(leaf) and not isinstance(leaf, jax.ShapeDtypeStruct):
        return None  # functions need not answer for what lies nowhere
    if isinstance(place, if_array):
        place = place(leaf)
    elif callable(place) and not is_place(place):
        place = place(path_str(path), leaf)
    if not is_place(place) or isinstance(place, if_array):
        raise TypeError(
            f"`{name}` consists of devices, `jax.sharding.Sharding`s, "
            f"`jax.sharding.PartitionSpec`s (under `jax.set_mesh`), None, and functions of the "
            f"path and the value of a leaf that return one of these; for {path_str(path)} it has "
            f"or gives a {type(place).__name__}: {place!r}."
        )
    return place


def constrained(x: Any, place: Any) -> Any:
    """A traced array, laid out so.

    On explicit axes of a mesh the sharding is part of the type, and `reshard` changes it. On
    automatic axes a constraint tells the compiler, which may not be told so by `device_put`.
    """
    if isinstance(place, jax.Device):
        place = SingleDeviceSharding(place)
    if isinstance(place, SingleDeviceSharding):
        return jax.lax.with_sharding_constraint(x, place)
    if _is_elsewhere(place):  # a constraint says nothing of the kind of memory
        near = place.with_memory_kind(next(iter(place.device_set)).default_memory().kind)
        return jax.device_put(constrained(x, near), place)
    mesh = place.mesh if isinstance(place, NamedSharding) else jax.sharding.get_abstract_mesh()
    if AxisType.Explicit in mesh.axis_types:
        return jax.sharding.reshard(x, place)
    return jax.lax.with_sharding_constraint(x, place)


def _is_elsewhere(place: Any) -> bool:
    """Whether a sharding is in another memory than that in which its devices compute."""
    kind = getattr(place, "memory_kind", None)
    if kind is None or isinstance(getattr(place, "mesh", None), AbstractMesh):
        return False
    return kind != next(iter(place.device_set)).default_memory().kind


def described(x: jax.ShapeDtypeStruct, place: Any) -> jax.ShapeDtypeStruct:
    """The description of an array that lies there; of a spec, on the mesh around."""
    if isinstance(place, jax.Device):
        place = SingleDeviceSharding(place)
    if isinstance(place, PartitionSpec):
        place = NamedSharding(jax.sharding.get_abstract_mesh(), place)
    weak_type = getattr(x, "weak_type", False)
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place, weak_type=weak_type)


def check_parts(
    x: Any, spec: PartitionSpec, sizes: Mapping[str, int], who: str, where: str
) -> None:
    """**Raises:** `ValueError` where a dimension of an array does not divide; says what is missing.

    Other mistakes are left to JAX. `who` got the array, at the path `where`.
    """
    shape: tuple[int, ...] = x.shape if is_array(x) or isinstance(x, jax.ShapeDtypeStruct) else ()
    for dimension, (entry, size) in enumerate(zip(spec, shape, strict=False)):
        names = entry if isinstance(entry, tuple) else (entry,)
        count = math.prod(sizes.get(name, 1) for name in names)
        if size % count:
            raise ValueError(
                f"`{who}` got an array of shape {shape} at {where}, whose dimension {dimension} is "
                f"to be split by {spec} into {count} equal parts: {-size % count} elements are "
                f"missing to {size + -size % count}. Pad it, or leave out {size % count}."
            )
