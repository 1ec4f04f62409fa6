"""Functions that equal themselves alone, and yet are the same when they are copied.

What a function of `jax.jit` shares with its copies is read from its state (`_jax.jitted_as`): seen
on JAX 0.7.2, 0.10.2 and 0.12. Where that stops, `test_a_copied_or_pickled_model_is_traced_no_more`
fails. It can go when such functions are equal to their copies.
"""

import functools
from typing import Any

import jax

from filtered_transforms._filters.static_leaf import StaticLeaf
from filtered_transforms._jax.jitted import jitted_as

_JITTED = type(jax.jit(lambda: None))


def key_of_copies(leaf: Any) -> Any:
    """What stands for `leaf` and for its copies: equal for those, and for nothing else.

    `copy.deepcopy` and `pickle` make anew what wraps a function, if it is no function itself:
    `functools.partial`, and the functions of `jax.jit` and `jax.custom_jvp`, as most activations
    are. Everything else stands for itself.
    """
    if type(leaf) is functools.partial:
        values = [StaticLeaf(key_of_copies(x)) for x in (*leaf.args, *leaf.keywords.values())]
        return functools.partial, key_of_copies(leaf.func), tuple(leaf.keywords), tuple(values)
    if type(leaf) is _JITTED:
        return _JITTED, jitted_as(leaf)
    if type(leaf) is jax.custom_jvp:
        return jax.custom_jvp, key_of_copies(leaf.fun), leaf.nondiff_argnums, leaf.jvp
    return leaf
