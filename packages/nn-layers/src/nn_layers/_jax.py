"""The unstable JAX API that this distribution uses."""

import functools
import importlib
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import Array, lax
from jax.core import Tracer as Tracer  # JAX 0.7.2 to 0.12: no documented way to tell a traced value


def mapped_name(x: Any) -> Any:
    """The `axis_name` of the innermost `jax.vmap` that `x` is a batch in, or `None`.

    JAX 0.7.2 to 0.12: no documented way to ask. Where the attributes do not exist, none is found.
    """
    while hasattr(x, "primal"):  # it is differentiated, too
        x = x.primal
    return getattr(getattr(getattr(x, "_trace", None), "axis_data", None), "name", None)


def is_batch_of_values(x: Any) -> bool:
    """Whether it stands for arrays with values: in one `jax.vmap`, and in no other trace.

    JAX 0.7.2 to 0.12: no documented way to ask. Where the attributes do not exist, it is none.
    """
    if getattr(getattr(x, "_trace", None), "axis_data", None) is None:
        return False
    values = getattr(x, "val", None)
    return isinstance(values, Array) and not isinstance(values, Tracer)


def varying_as(tree: Any, *others: Any) -> Any:
    """The arrays of a tree, marked as different on each device wherever those of others are.

    JAX checks within a `shard_map` (`check_vma=True`) that the carry of a loop keeps its type, of
    which that is a part; zeros to begin with are equal on all devices. Outside it does nothing.
    `jax.lax.pvary` on JAX 0.7.2, `jax.lax.pcast` on 0.10.2 and 0.12.
    """
    arrays = [leaf for leaf in jtu.tree_leaves(others) if isinstance(leaf, Array)]
    axes = frozenset[str]().union(*map(_varying_axes, arrays))

    def mark(x: Array) -> Array:
        missing = tuple(sorted(axes - _varying_axes(x)))
        if not missing:
            return x
        if hasattr(lax, "pcast"):
            return lax.pcast(x, missing, to="varying")
        return getattr(lax, "pvary")(x, missing)  # noqa: B009 - checkers see a newer JAX

    return jtu.tree_map(mark, tree)


def _varying_axes(x: Array) -> frozenset[str]:
    """`vma` of its type on JAX 0.7.2; `varying` of its `manual_axis_type` on 0.10.2 and 0.12."""
    aval: Any = jax.typeof(x)
    kind = getattr(aval, "manual_axis_type", None)
    return getattr(aval, "vma", frozenset()) if kind is None else kind.varying


@functools.cache
def given_numbers(length: int) -> Any:
    """A generator whose key *is* its random numbers: two words for each of `length` of them.

    Samplers of `jax.random` then turn numbers that come from elsewhere into floating-point ones, by
    JAX's own operations. They may ask for numbers once: there is no way to split such a key.
    `jax.extend.random` on JAX 0.7.2 to 0.12: no documented way to pass random bits to a sampler. It
    is imported when an array is first drawn, since JAX 0.10 imports Pallas with it.
    """

    def random_bits(words: Array, width: int, shape: tuple[int, ...]) -> Array:
        high, low = words[0], words[1]
        if width == 64:
            wide = [lax.convert_element_type(word, jnp.uint64) for word in (high, low)]
            return (wide[0] << 32 | wide[1]).reshape(shape)
        dtype = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}[width]
        return lax.convert_element_type(high ^ low, dtype).reshape(shape)

    return importlib.import_module("jax.extend.random").define_prng_impl(
        key_shape=(2, length),
        seed=_not_there,
        split=_not_there,
        fold_in=_not_there,
        random_bits=random_bits,
        name=f"nn_layers_given_{length}",
        tag="given",
    )


def _not_there(*_: Any) -> NoReturn:
    raise NotImplementedError("This key holds random numbers; it cannot be split.")
