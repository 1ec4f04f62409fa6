"""How the layers of a `Stacked` are made: one by one, or within one trace.

One by one, layers share the programs that draw parameters with all others of the process, and
nothing is compiled for the stack. Within one trace there is memory needed for one layer beside the
result. Both give the same numbers. Tests: `tests/nn_layers/_models/test_make_stack.py`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import PRNGKeyArray

from filtered_transforms import filter_map
from nn_layers._core import shared_draws
from nn_layers._core.initialisers import separate_keys
from nn_layers._core.key_arguments import split_key

L = TypeVar("L")

# Up to so many layers it takes longer to compile a program that makes them than to make them.
_ONE_BY_ONE = 64


def make_stack(make: Callable[[PRNGKeyArray], L], key: PRNGKeyArray, n: int) -> L:
    """`make(jax.random.split(key, n)[i])` for each `i`, their arrays stacked.

    **Raises:** `TypeError` if `key` is not a key; what `make` raises.
    """
    if 1 < n <= _ONE_BY_ONE and shared_draws.words_of(key) is not None:
        stacked = _one_by_one(make, separate_keys("Stacked", key, n))
        if stacked is not None:
            return stacked
    return filter_map(make, split_key("Stacked", key, n))


def _one_by_one(make: Callable[[PRNGKeyArray], L], keys: list[PRNGKeyArray]) -> L | None:
    """`None` as soon as two layers differ in more than the values of arrays on the CPU.

    They do where `make` makes a function or the index of a state. In a trace it makes one of them.
    """
    first, treedef = jtu.tree_flatten(make(keys[0]))
    columns: list[list[Any]] = [[leaf] for leaf in first]
    for key in keys[1:]:
        leaves, other = jtu.tree_flatten(make(key))
        if other != treedef or not all(map(_may_stack, first, leaves)):
            return None
        for column, leaf in zip(columns, leaves, strict=True):
            column.append(leaf)
    return jtu.tree_unflatten(treedef, [_stacked(column) for column in columns])


def _may_stack(one: Any, other: Any) -> bool:
    if isinstance(one, (bool, int, float, complex, str)):
        return type(one) is type(other) and one == other
    if not isinstance(one, jax.Array):
        return one is other
    return (
        shared_draws.is_plain(one)
        and shared_draws.is_plain(other)
        and not jnp.issubdtype(one.dtype, jax.dtypes.extended)
        and jax.typeof(one) == jax.typeof(other)
    )


def _stacked(column: list[Any]) -> Any:
    if not isinstance(column[0], jax.Array):
        return column[0]
    if column[0].weak_type:  # NumPy has no word for that
        return jnp.stack(column)
    return jax.device_put(np.stack([np.asarray(x) for x in column]))
