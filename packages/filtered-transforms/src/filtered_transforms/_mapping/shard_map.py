"""`filter_shard_map`: a function that sees one device's part of each array."""

import dataclasses
from collections.abc import Callable, Set
from itertools import compress
from typing import Any, overload

import jax
import jax.tree_util as jtu
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from filtered_transforms._filters.output_structure import Signature
from filtered_transforms._filters.partition import merge
from filtered_transforms._filters.predicates import array_mask
from filtered_transforms._placement.hashable_tree import HashableTree
from filtered_transforms._placement.placements import check_parts
from filtered_transforms._types import Decorator, P, R, SpecsSpec, Wrapped
from filtered_transforms._wrapper import Wrapper, decorate, module_of
from pytree_module import field
from tree_surgery import path_str
from tree_surgery.extend import public

from .axes import positional_axes
from .specs import specs_of

_REPLICATED = PartitionSpec()


@dataclasses.dataclass(frozen=True)
class _Options:
    """What is passed on to `jax.shard_map`."""

    mesh: Mesh | AbstractMesh | None
    axis_names: frozenset[str]
    check_vma: bool

    def sizes(self) -> dict[str, int]:
        """The axes of the mesh, of the surrounding one if none was given."""
        mesh = jax.sharding.get_abstract_mesh() if self.mesh is None else self.mesh
        return dict(mesh.shape)

    def arguments(self) -> dict[str, Any]:
        return {"mesh": self.mesh, "axis_names": self.axis_names, "check_vma": self.check_vma}


class ShardMapWrapper(Wrapper):
    """What `filter_shard_map` returns."""

    in_specs: Any = field(static=True)
    out_specs: Any = field(static=True)
    options: _Options = field(static=True)

    def __init__(self, fun: Any, in_specs: Any, out_specs: Any, options: _Options):
        self.fun = fun
        self.__module__ = module_of(fun)
        self.in_specs = HashableTree(in_specs)
        self.out_specs = HashableTree(out_specs)
        self.options = options

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise RuntimeError(
                f"keyword arguments cannot be used with functions wrapped with `filter_shard_map` "
                f"(got {', '.join(kwargs)}). Pass them by position, or bind them with `Partial`."
            )
        in_specs, out_specs = self.in_specs.tree, self.out_specs.tree
        if isinstance(in_specs, dict):
            in_specs = positional_axes(self.fun, in_specs, len(args), _REPLICATED)
        leaves, treedef = jtu.tree_flatten((self.fun, args))
        own = jtu.tree_structure(self.fun).num_leaves
        specs = [_REPLICATED] * own + specs_of(in_specs, args, "in_specs")
        mask = array_mask(leaves)
        static = [leaf for leaf, array in zip(leaves, mask, strict=True) if not array]
        _check_parts(args, specs[own:], self.options.sizes())
        # `jax.shard_map` reads the specs of the result after it has traced the function, which is
        # when they are known for each array in it. Seen on JAX 0.7.2, 0.10.2 and 0.12:
        # `test_jax_reads_out_specs_after_the_trace` fails where that is no longer so. It can go
        # when `jax.shard_map` takes a function of the result as `out_specs`.
        specs_of_arrays: list[PartitionSpec] = []
        signature: Any = None

        def flat(*arrays: Any) -> list[Any]:
            nonlocal signature
            fun, given = treedef.unflatten(merge(mask, arrays, static))
            out = fun(*given)
            out_leaves, out_treedef = jtu.tree_flatten(out)
            out_mask = array_mask(out_leaves)
            specs_of_arrays[:] = compress(specs_of(out_specs, out, "out_specs"), out_mask)
            signature = Signature(out_treedef, out_leaves, out_mask)
            return list(compress(out_leaves, out_mask))

        sharded = jax.shard_map(
            flat,
            in_specs=tuple(compress(specs, mask)),
            out_specs=specs_of_arrays,
            **self.options.arguments(),
        )
        arrays = sharded(*compress(leaves, mask))
        return signature.result(arrays)

    def __repr__(self) -> str:
        return f"filter_shard_map({self.fun!r})"


def _check_parts(args: Any, specs: list[PartitionSpec], sizes: dict[str, int]) -> None:
    for (path, leaf), spec in zip(jtu.tree_leaves_with_path(args), specs, strict=True):
        check_parts(leaf, spec, sizes, "filter_shard_map", f"args{path_str(path)}")


@overload
def filter_shard_map(
    *,
    in_specs: SpecsSpec,
    out_specs: SpecsSpec,
    mesh: Mesh | AbstractMesh | None = None,
    axis_names: Set[str] = frozenset(),
    check_vma: bool = True,
) -> Decorator: ...
@overload
def filter_shard_map(
    fun: Callable[P, R],
    *,
    in_specs: SpecsSpec,
    out_specs: SpecsSpec,
    mesh: Mesh | AbstractMesh | None = None,
    axis_names: Set[str] = frozenset(),
    check_vma: bool = True,
) -> Wrapped[P, R]: ...
@public
def filter_shard_map(
    fun: Any = ...,
    *,
    in_specs: SpecsSpec,
    out_specs: SpecsSpec,
    mesh: Mesh | AbstractMesh | None = None,
    axis_names: Set[str] = frozenset(),
    check_vma: bool = True,
) -> Any:
    """Runs a function on each device of a mesh, on that device's part of each array.

    As `jax.shard_map`, for any arguments and results: non-array leaves are passed as they are.

    **Arguments:**

    - `fun`: the function, or any callable PyTree, whose own arrays each device has whole. Left out,
        a decorator is returned.
    - `in_specs`: how the arrays of the arguments are split: a tree of
        `jax.sharding.PartitionSpec`, `None` (each device has all of it) and functions from a leaf
        to those (such as `if_array(PartitionSpec("data"))`) that is a prefix of the tuple of
        positional arguments; or a dictionary from names of parameters to such trees, where
        parameters left out are whole.
    - `out_specs`: how the arrays of the result are put together; a prefix of the result.
    - `mesh`: the mesh; that of `jax.set_mesh`, if it is left out.
    - `axis_names`: the axes of the mesh that `fun` handles itself, if not all of them.
    - `check_vma`: whether JAX checks that what `out_specs` calls equal on all devices is so.

    **Returns:**

    A function of the same positional arguments. Its result may hold values that are not arrays:
    those of the trace. Run-time checks within it hold under `filter_jit`.

    **Raises:** `RuntimeError` when called with keyword arguments; `ValueError` for specs that do
    not fit the arguments or the result, and for a dimension that does not divide: it names the path
    of the array and how many elements are missing.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_shard_map
    from jax.sharding import AxisType, PartitionSpec as P

    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))

    @filter_shard_map(mesh=mesh, in_specs={"x": P("data")}, out_specs=(P(), None))
    def mean(x, activation):
        return jax.lax.pmean(activation(x).mean(), "data"), activation

    y, activation = mean(jnp.ones(8), jax.nn.relu)
    assert y == 1 and activation is jax.nn.relu
    ```
    """
    options = _Options(mesh, frozenset(axis_names), check_vma)

    def wrap(fun: Any) -> ShardMapWrapper:
        return ShardMapWrapper(fun, in_specs, out_specs, options)

    if fun is ...:
        return lambda fun: decorate(wrap, fun, "filter_shard_map")
    return decorate(wrap, fun, "filter_shard_map")
