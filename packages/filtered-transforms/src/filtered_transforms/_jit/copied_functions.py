"""Functions that are equal to themselves alone, and yet the same when they are copied."""

import functools
from typing import Any

import jax

from filtered_transforms._filters.static_leaf import StaticLeaf
from filtered_transforms._jax import jitted_as

_JITTED = type(jax.jit(lambda: None))


def original(leaf: Any) -> Any:
    """What stands for `leaf` and for its copies: equal for those, and for nothing else.

    `copy.deepcopy` and `pickle` make anew what wraps a function, if it is no function itself:
    `functools.partial`, and the functions of `jax.jit` and `jax.custom_jvp`, as most activations
    are. Everything else stands for itself.
    """
    if type(leaf) is functools.partial:
        values = [StaticLeaf(original(x)) for x in (*leaf.args, *leaf.keywords.values())]
        return functools.partial, original(leaf.func), tuple(leaf.keywords), tuple(values)
    if type(leaf) is _JITTED:
        return _JITTED, jitted_as(leaf)
    if type(leaf) is jax.custom_jvp:
        return jax.custom_jvp, original(leaf.fun), leaf.nondiff_argnums, leaf.jvp
    return leaf
