"""Functions that are compared by identity, and their copies: one key for both.

`_jax.jitted_as` reads from the state of a `jax.jit` function what it shares with its copies. This
works on JAX 0.7.2, 0.10.2 and 0.12; when it stops,
`test_a_copied_or_pickled_model_is_traced_no_more` fails. The module can go when such functions
equal their copies.
"""

import functools
from typing import Any

import jax

from filtered_transforms._filters.static_leaf import StaticLeaf
from filtered_transforms._jax.jitted import jitted_as

_JITTED = type(jax.jit(lambda: None))


def key_of_copies(leaf: Any) -> Any:
    """A key for `leaf` that equals the keys of its copies, and no others.

    `copy.deepcopy` and `pickle` make new objects of function wrappers: of `functools.partial`, and
    of the functions of `jax.jit` and `jax.custom_jvp`, as most activations are. Every other leaf is
    its own key.
    """
    if type(leaf) is functools.partial:
        values = [StaticLeaf(key_of_copies(x)) for x in (*leaf.args, *leaf.keywords.values())]
        return functools.partial, key_of_copies(leaf.func), tuple(leaf.keywords), tuple(values)
    if type(leaf) is _JITTED:
        return _JITTED, jitted_as(leaf)
    if type(leaf) is jax.custom_jvp:
        return jax.custom_jvp, key_of_copies(leaf.fun), leaf.nondiff_argnums, leaf.jvp
    return leaf
