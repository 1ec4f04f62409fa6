"""`in_shardings` and `out_shardings` of `filter_jit`.

`jax.jit` takes the arguments as a flat list, and so their shardings. Results are constrained inside
the program: their structure is known only while it is traced.
"""

import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.tree_util as jtu
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

import tree_surgery
from filtered_transforms._filters.if_array import if_array
from filtered_transforms._filters.predicates import is_array
from filtered_transforms._jax.jitted import unspecified_sharding
from filtered_transforms._jax.tracers import is_concrete
from filtered_transforms._placement.placements import check_parts, constrained, placements_of
from tree_surgery import path_str

from .checked_program import jit_is_disabled
from .options import JitOptions, arguments_of, parameters_of

_OF_JAX = re.compile(r"[Ss]harding|incompatible devices")


def check_in_shardings(given: Any, fun: Any) -> None:
    """**Raises:** `ValueError` if `in_shardings` names a parameter that `fun` does not have."""
    if isinstance(given, dict) and (unknown := given.keys() - parameters_of(fun).keys()):
        raise ValueError(
            f"`in_shardings` names {', '.join(sorted(map(repr, unknown)))}, which the function has "
            f"no parameter for; it has {', '.join(map(repr, parameters_of(fun)))}."
        )


def depend_on_shapes(given: Any) -> bool:
    """Whether the sharding of an argument can depend on its shape, by a function or a rule."""
    if isinstance(given, tree_surgery.ShardingRules):
        return True
    leaves = jtu.tree_leaves(given)
    return any(
        isinstance(leaf, tree_surgery.ShardingRules)
        or (callable(leaf) and not isinstance(leaf, if_array))
        for leaf in leaves
    )


def shardings_of_call(options: JitOptions, call: tuple[Any, ...], fun: Any) -> list[Any]:
    """The sharding for `jax.jit` of each leaf of a call; only those of arrays matter."""
    return [_for_jax(place) for place in _places(options, call, fun)]


def _places(options: JitOptions, call: tuple[Any, ...], fun: Any) -> list[Any]:
    *function, args, kwargs = call
    places: list[Any] = [None] * jtu.tree_structure(function).num_leaves
    assert options.in_shardings is not None
    for name, spec, arg in _specs(options.in_shardings.tree, args, kwargs, fun):
        found = placements_of(spec, arg, f"in_shardings of {name}")
        for (path, leaf), place in zip(jtu.tree_leaves_with_path(arg), found, strict=True):
            _check_parts(leaf, place, _where(name, path))
        places += found
    return places


def _specs(
    given: Any, args: tuple[Any, ...], kwargs: dict[str, Any], fun: Any
) -> Iterator[tuple[str, Any, Any]]:
    """For each argument, in JAX's flattening order: its name, its spec, and the argument."""
    order = list(parameters_of(fun))
    in_order = isinstance(given, (tuple, list)) and not isinstance(given, PartitionSpec)
    if in_order and len(given) > max(len(order), len(args)):
        raise ValueError(
            f"`in_shardings` has {len(given)} entries, one for each parameter of the function in "
            f"order, and the function has {len(order)}: {', '.join(map(repr, order))}."
        )
    for i, (_, name, arg) in enumerate(arguments_of(fun, args, kwargs)):
        shown = name or f"argument {i}"
        if isinstance(given, dict):
            yield shown, given.get(name), arg
        elif in_order:
            # `*args` is one parameter, so all its arguments share one entry.
            at = order.index(name) if name in order else i
            if at >= len(given):
                raise ValueError(
                    f"`in_shardings` has {len(given)} entries, and none for {shown}, which is "
                    f"number {at + 1} of the parameters. Say None for what may lie anywhere, or "
                    f"give a dictionary by name."
                )
            yield shown, given[at], arg
        else:
            yield shown, given, arg


def _where(name: str, path: tuple[Any, ...]) -> str:
    inside = path_str(path) if path else ""
    return name + inside if inside[:1] in ("", "[") else f"{name}.{inside}"


def _check_parts(leaf: Any, place: Any, where: str) -> None:
    """**Raises:** `ValueError` naming the path, if the array cannot have this sharding."""
    spec, mesh = _spec_and_mesh(place)
    if spec is None:
        return
    if mesh is None:
        raise ValueError(
            f"`filter_jit` got {spec} for {where}, which is on a mesh, and there is none around. "
            f"Call it under `with jax.set_mesh(mesh):`, or give a `jax.sharding.NamedSharding`."
        )
    if len(spec) > leaf.ndim:
        raise ValueError(
            f"`filter_jit` got {spec} for {where}, an array of shape {leaf.shape}, which has fewer "
            f"dimensions."
        )
    named = [name for entry in spec for name in (entry if isinstance(entry, tuple) else (entry,))]
    unknown = [n for n in named if isinstance(n, str) and n not in mesh.shape]
    if unknown:
        raise ValueError(
            f"`filter_jit` got {spec} for {where}, and the mesh has no axis "
            f"{', '.join(map(repr, unknown))}; it has {', '.join(map(repr, mesh.shape))}."
        )
    check_parts(leaf, spec, mesh.shape, "filter_jit", where)


def _spec_and_mesh(place: Any) -> tuple[Any, Any]:
    if isinstance(place, NamedSharding):
        return place.spec, place.mesh
    if isinstance(place, PartitionSpec):
        mesh = jax.sharding.get_abstract_mesh()
        return (place, None) if mesh.empty else (place, mesh)
    return None, None


def _for_jax(place: Any) -> Any:
    if place is None:
        return unspecified_sharding()
    return SingleDeviceSharding(place) if isinstance(place, jax.Device) else place


def explain_arguments(
    options: JitOptions, call: tuple[Any, ...], fun: Any, error: Exception
) -> None:
    """**Raises:** `ValueError` naming the argument that cannot have its sharding.

    Called when a program has failed with `error`. JAX's errors about shardings number the arguments
    of the flat list, which the user does not know. All other errors are the user's own.
    """
    if jit_is_disabled() or not (isinstance(error, ValueError) and _OF_JAX.search(str(error))):
        return
    places = _places(options, call, fun)  # raises where one cannot be
    for (where, leaf), place in zip(_leaves(call, fun), places, strict=True):
        if place is None or not isinstance(leaf, jax.Array) or not is_concrete(leaf):
            continue
        if leaf.committed and not _lies(leaf, place):
            raise ValueError(
                f"`filter_jit` got an array at {where} that was put on {leaf.sharding}, and "
                f"`in_shardings` says {place}. Move it there by `filter_device_put`, or say None "
                f"for it in `in_shardings`."
            )


def _leaves(call: tuple[Any, ...], fun: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of a call, each with its path."""
    *function, args, kwargs = call
    for leaf in jtu.tree_leaves(function):
        yield "the function itself", leaf
    for i, (_, name, arg) in enumerate(arguments_of(fun, args, kwargs)):
        for path, leaf in jtu.tree_leaves_with_path(arg):
            yield _where(name or f"argument {i}", path), leaf


def _lies(array: jax.Array, place: Any) -> bool:
    """Whether an array has this sharding; a spec refers to the current mesh."""
    wanted = _for_jax(place)
    if isinstance(place, PartitionSpec):
        around = jax.sharding.get_abstract_mesh()  # without devices that could be compared
        mesh = getattr(array.sharding, "mesh", None)
        if mesh is None or mesh.abstract_mesh != around:
            return len(array.sharding.device_set) == around.size
        wanted = NamedSharding(mesh, place)
    return array.sharding.is_equivalent_to(wanted, array.ndim)


def placed_results(out: Any, where: Any) -> Any:
    """The result of a function under trace, its arrays constrained to the shardings `where`."""
    leaves, treedef = jtu.tree_flatten(out)
    places = placements_of(where, out, "out_shardings")
    put = jax.device_put if jit_is_disabled() else constrained
    at = [i for i, leaf in enumerate(leaves) if is_array(leaf) and places[i] is not None]
    paths = jtu.tree_leaves_with_path(out) if at else []
    for i in at:
        _check_parts(leaves[i], places[i], _where("the result", paths[i][0]))
        leaves[i] = put(leaves[i], places[i])
    return treedef.unflatten(leaves)
