"""How a `Stacked` runs its layers: one `jax.lax.scan`, whose body is a layer."""

from typing import Any, NamedTuple

import jax
import jax.tree_util as jtu
from jaxtyping import Array

from filtered_transforms import combine, filter_jit, is_array, partition
from nn_layers._core.explicit_sharding import with_sharding_of
from nn_layers._core.layer_protocol import takes_key
from nn_layers._core.shape_errors import ShapeError, add_layer_path
from nn_layers._core.signatures import signature_difference
from tree_surgery import path_str

from .remat import rematerialised


class NamedArguments(NamedTuple):
    """What the layers of a `Stacked` are given by name."""

    keys: Array | None
    """A key for each layer."""
    shared: dict[str, Any]
    """The same for all layers."""
    each: dict[str, Any]
    """Arrays with a leading axis: an entry for each layer."""


class LayerStates(NamedTuple):
    """The state of stateful layers. At least one of the two is `None`."""

    own: Any
    """The part of a `State` that belongs to the layers: its arrays have an entry for each."""
    carried: Any
    """A state of another kind, which each layer takes from the one before."""


# Compiled, so that a call outside of `jax.jit` finds its program again.
@filter_jit
def scan_layers(
    stacked: Any, x: Any, states: LayerStates, named: NamedArguments, collect: bool
) -> tuple[Any, Any, LayerStates]:
    """Runs the layers of a `Stacked`, by a scan over the leading axis of their arrays.

    **Returns:** what the last layer returns, with `collect` the `y`s, and the new states (`own` is
    `None` if no layer has changed its own).
    """
    arrays, rest = partition(stacked.layers, is_array)
    each_arrays, each_rest = partition(named.each, is_array)
    stateful = stacked.is_stateful()

    def step(carry: Any, slices: Any) -> Any:
        x, carried = carry
        layer_arrays, own, key, each = slices
        layer = combine(layer_arrays, rest)
        arguments = {**named.shared, **combine(each, each_rest)}
        if takes_key(layer):
            arguments["key"] = key
        new = None
        try:
            if stateful:
                out, new = layer(x, carried if own is None else own, **arguments)
                if own is None:
                    carried = new
            else:
                out = layer(x, **arguments)
        except Exception as error:
            add_layer_path(error, stacked, "layers", layer)
            raise
        out, y = _checked_pair(stacked, out) if collect else (out, None)
        _check_same_signature(layer, x, out)
        out = jtu.tree_map(with_sharding_of, out, x)
        # A layer that returns the very state it was given, as in inference, has not spent it.
        return (out, carried), (None if own is None or new is own else new, y)

    step = rematerialised(step, stacked.remat)
    xs = (arrays, states.own, named.keys, each_arrays)
    (x, carried), (own, ys) = jax.lax.scan(
        step, (x, states.carried), xs, length=stacked.length, unroll=stacked.unroll
    )
    return x, ys, LayerStates(own, carried)


def _checked_pair(stacked: Any, out: Any) -> Any:
    """The pair that a layer must return with `collect`."""
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(
            f"`Stacked` was called with `collect=True`, so each {type(stacked.layers).__name__} "
            f"must return a pair (x, y), but it returned a {type(out).__name__}."
        )
    return out


def check_named_arguments(stacked: Any, named: NamedArguments) -> None:
    """Refuses a name that is given twice, and arrays without an entry for each layer."""
    for name in named.each.keys() & named.shared.keys():
        raise ValueError(f"`Stacked`: the argument `{name}` is in `each` and in `shared`.")
    for path, leaf in jtu.tree_leaves_with_path(named.each):
        if is_array(leaf) and leaf.shape[:1] != (stacked.length,):
            raise ValueError(
                f"`Stacked`: `each{path_str(path)}` must have a leading axis of size "
                f"{stacked.length}, one entry for each layer, but is of shape {leaf.shape}. What "
                f"is the same for all layers goes into `shared`."
            )


def _check_same_signature(layer: Any, given: Any, out: Any) -> None:
    """Refuses a layer whose output differs from its input in structure, shape or dtype."""
    difference = signature_difference(given, out)
    if difference is not None:
        raise ShapeError(
            f"`Stacked`: each {type(layer).__name__} must return what is of the structure, shape "
            f"and dtype of its input, since the next one takes it. At {difference.path} it was "
            f"given {difference.expected} and returned {difference.found}.",
            layer,
            getattr(given, "shape", None),
            getattr(out, "shape", None),
        )
