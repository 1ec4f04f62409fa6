"""Equal layers one after the other, as one layer with a longer axis, run by a scan."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, Self, SupportsIndex, overload

import jax
import jax.random as jr
import jax.tree_util as jtu
from jaxtyping import Array, PRNGKeyArray

from filtered_transforms import combine, filter_jit, filter_map, is_array, partition
from nn_layers._core.key_arguments import split_key
from nn_layers._core.missing import MISSING
from nn_layers._core.shape_errors import ShapeError, located, size
from nn_layers._state.state import State, passed_on, with_markers_of
from nn_layers._types import L, Layer_co, S, X, Y
from pytree_module import field, module_from_fields
from tree_surgery import path_str, tree_stack, tree_unstack
from tree_surgery.extend import public

from .remat import Remat, checked_remat, rematerialised
from .sequential import StatefulLayer, is_stateful_layer, takes_key

_NOT_STATEFUL = (
    " What each layer has of its own, such as a cache, goes into `each={'cache': caches}`, with "
    "`collect=True`; what is the same for all into `shared`."
)


@public
class Stacked(StatefulLayer, Generic[Layer_co]):
    r"""Composes $n$ equal layers, $y = f_n(\cdots f_2(f_1(x)))$, and compiles one.

    The layers differ in the values of their arrays alone. They are kept as one layer whose every
    array has a new leading axis of size $n$, and run by `jax.lax.scan`: the time to trace and
    compile does not grow with $n$, as that of a Python loop does.

    **Shapes:** a layer returns what is of the shape and dtype of its input. Every array of `layers`
    is `(n, *shape in one layer)`.

    **Initialisation:** layer $i$ is `make(jax.random.split(key, n)[i])`. They are made one after
    the other within a single trace, so that beside the result there is memory needed for one.

    **Arguments:**

    - `make`: a function from a key to a layer. A layer is called as `layer(x, key=key)`; one that
        takes no `key` as `layer(x)`; a `StatefulLayer` as `layer(x, state, key=key)`.
    - `n`: how many layers there are.
    - `unroll`: how many layers to put into one step of the loop, or `True` for all.
    - `remat`: what is computed again for the gradient instead of being kept. `"elementwise"`: what
        is computed element by element, and sums, which is quicker than to write them down and read
        them, and takes a fraction of the memory; products, convolutions, random numbers and what
        has a name (`jax.ad_checkpoint.checkpoint_name`) are kept, and a layer with a loop, a branch
        or an effect (a print) in it keeps everything. `False`: nothing. `True`: all but the input
        of each layer, which takes the least memory. A policy of `jax.checkpoint_policies`: what it
        does not save.
    - `key`: what the layers are made from.

    `stacked[i]` is a layer and `stacked[i:j]` a `Stacked` of some; it has a length and can be
    iterated over; `unstack` returns a list, and `Stacked.from_layers` takes one.

    A stack with a state (`BatchNorm` in it) is made by `make_with_state`, as any model; the arrays
    of the state have the leading axis too. `jax.tree.map(lambda a: a[i], state.substate(stacked))`
    is the state of `stacked[i]`.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import MLP, Stacked

        def make(key):
            return MLP(4, 4, 16, 1, key=key)

        stacked = Stacked(make, 12, key=jax.random.key(0))
        assert stacked.layers.layers[0].weight.shape == (12, 16, 4)

        x = jnp.ones(4)
        y = x
        for layer in stacked:
            y = layer(y)
        assert jnp.allclose(stacked(x), y, atol=1e-5)
        assert jnp.allclose(stacked[3:](stacked[:3](x)), y, atol=1e-5)
        ```
    """

    layers: Layer_co
    length: int = field(static=True)
    unroll: int | bool = field(static=True)
    remat: Remat = field(static=True)

    def __init__(
        self,
        make: Callable[[PRNGKeyArray], Layer_co],
        n: int,
        *,
        unroll: int | bool = 1,
        remat: Remat = "elementwise",
        key: PRNGKeyArray,
    ):
        n = size("Stacked", "n", n)
        self.layers = filter_map(make, split_key("Stacked", key, n))
        if not callable(self.layers):
            raise TypeError(
                f"`Stacked`: `make` must return a layer, which can be called, but it returned a "
                f"{type(self.layers).__name__}."
            )
        self.length = n
        self.unroll = _checked_unroll(unroll)
        self.remat = checked_remat(remat)

    @classmethod
    def from_layers(
        cls,
        layers: Sequence[L],
        *,
        unroll: int | bool = 1,
        remat: Remat = "elementwise",
    ) -> "Stacked[L]":
        """Stacks layers that exist.

        **Arguments:**

        - `layers`: one or more layers, which differ in the values of their arrays alone.
        - `unroll`, `remat`: as for the class.

        **Returns:** a `Stacked`, whose `unstack()` are the layers.

        **Raises:** `ValueError`, with the path in the layer, if they differ in something else.
        """
        layers = list(layers)
        if not layers:
            raise ValueError("`Stacked.from_layers` needs at least one layer.")
        stacked = tree_stack([layers[0], *(with_markers_of(layers[0], x) for x in layers[1:])])
        made: Any = module_from_fields(
            cls,
            layers=stacked,
            length=len(layers),
            unroll=_checked_unroll(unroll),
            remat=checked_remat(remat),
        )
        return made

    @overload
    def __call__(
        self,
        x: X,
        *,
        key: PRNGKeyArray | None = None,
        shared: Mapping[str, Any] | None = None,
        each: Mapping[str, Any] | None = None,
        collect: Literal[False] = False,
    ) -> X: ...
    @overload
    def __call__(
        self: "Stacked[Callable[..., tuple[Any, Y]]]",
        x: X,
        *,
        key: PRNGKeyArray | None = None,
        shared: Mapping[str, Any] | None = None,
        each: Mapping[str, Any] | None = None,
        collect: Literal[True],
    ) -> tuple[X, Y]: ...
    @overload
    def __call__(
        self,
        x: X,
        state: S,
        *,
        key: PRNGKeyArray | None = None,
        shared: Mapping[str, Any] | None = None,
        each: Mapping[str, Any] | None = None,
        collect: Literal[False] = False,
    ) -> tuple[X, S]: ...
    @overload
    def __call__(
        self,
        x: X,
        state: S,
        *,
        key: PRNGKeyArray | None = None,
        shared: Mapping[str, Any] | None = None,
        each: Mapping[str, Any] | None = None,
        collect: Literal[True],
    ) -> tuple[tuple[X, Any], S]: ...
    def __call__(
        self,
        x: Any,
        state: Any = MISSING,
        *,
        key: PRNGKeyArray | None = None,
        shared: Mapping[str, Any] | None = None,
        each: Mapping[str, Any] | None = None,
        collect: bool = False,
    ) -> Any:
        """Calls the layers one after the other.

        **Arguments:**

        - `x`: what the first layer takes: an array, or any tree of arrays.
        - `state`: needed if the layers are stateful.
        - `key`: split into one for each layer, in order; `None` gives `None` to all.
        - `shared`: further named arguments, the same for all layers: `{"mask": mask}`.
        - `each`: further named arguments, of which each layer gets its own: their arrays have a
            leading axis of size `len(self)`.
        - `collect`: whether layers return pairs `(x, y)`. Then the `y`s, stacked, are returned too.

        **Returns:** what the last layer returns; with `collect`, the pair of it and the `y`s; with
        a `state`, the pair of that and the new state.

        **Raises:** `ValueError` if the layers are stateful and there is no `state`, or an array in
        `each` has another leading axis, or a name is in `shared`, too; `TypeError` if the layers
        are not stateful and `state` is no `State` to be passed on; `ShapeError` if a layer returns
        what it could not take.
        """
        stateful = self.is_stateful()
        if stateful and state is MISSING:
            raise ValueError(
                "`Stacked` was called without a `state`, but its layers are stateful: use "
                "`stacked(x, state, key=key)`, with `stacked, state = make_with_state(...)`."
            )
        own = state.substate(self.layers) if stateful and isinstance(state, State) else None
        carried = state if stateful and own is None else None
        each = {} if each is None else dict(each)
        shared = {} if shared is None else dict(shared)
        _check_each(self, each, shared)
        keys = None if key is None else jr.split(key, self.length)
        x, carried, new, ys = _run(self, (x, carried), own, keys, shared, each, collect)
        out = (x, ys) if collect else x
        if own is not None:
            return out, (state if new is None else state.update(new))
        return (out, carried) if stateful else passed_on(self, out, state, _NOT_STATEFUL)

    @overload
    def __getitem__(self, i: slice) -> Self: ...
    @overload
    def __getitem__(self, i: SupportsIndex | Array) -> Layer_co: ...
    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            length = len(range(*i.indices(self.length)))
            layers = _taken(self.layers, i)
            return module_from_fields(type(self), self, layers=layers, length=length)
        if hasattr(i, "__index__") and not isinstance(i, jax.Array):
            index = i.__index__()
            if not -self.length <= index < self.length:
                raise IndexError(f"`Stacked` of {self.length} layers has no layer {index}.")
            return _taken(self.layers, index)
        if hasattr(i, "dtype") and i.shape == ():
            return _taken(self.layers, i)  # an index that may be traced
        raise TypeError(f"`Stacked` takes an integer or a slice as index, got {i!r}.")

    def __iter__(self) -> Iterator[Layer_co]:
        return iter(self.unstack())

    def __len__(self) -> int:
        return self.length

    def unstack(self) -> list[Layer_co]:
        """**Returns:** the layers, in a list."""
        if not any(map(is_array, jtu.tree_leaves(self.layers))):
            return [self.layers] * self.length
        return tree_unstack(self.layers) if self.length else []

    def is_stateful(self) -> bool:
        """**Returns:** whether the layers are stateful."""
        return is_stateful_layer(self.layers)


def _taken(layers: Any, i: Any) -> Any:
    return jtu.tree_map(lambda leaf: leaf[i] if is_array(leaf) else leaf, layers)


# Compiled, so that a call outside of `jax.jit` finds its program again.
@filter_jit
def _run(
    stacked: Stacked[Any], carry: Any, own: Any, keys: Any, shared: Any, each: Any, collect: bool
) -> Any:
    """What `Stacked.__call__` returns, in parts: `x`, a carried state, the layers' states, `ys`."""
    arrays, rest = partition(stacked.layers, is_array)
    each_arrays, each_rest = partition(each, is_array)
    stateful = stacked.is_stateful()

    def step(carry: Any, slices: Any) -> Any:
        x, carried = carry
        layer_arrays, own, key, each = slices
        layer = combine(layer_arrays, rest)
        named = {**shared, **combine(each, each_rest)}
        if takes_key(layer):
            named["key"] = key
        new = None
        try:
            if stateful:
                out, new = layer(x, carried if own is None else own, **named)
                if own is None:
                    carried = new
            else:
                out = layer(x, **named)
        except Exception as error:
            located(error, stacked, "layers", layer)
            raise
        out, y = _pair(stacked, out) if collect else (out, None)
        _check_like(layer, x, out)
        # A state that was not changed, as in inference, is not spent.
        return (out, carried), (None if own is None or new is own else new, y)

    step = rematerialised(step, stacked.remat)
    xs = (arrays, own, keys, each_arrays)
    carry, (new, ys) = jax.lax.scan(step, carry, xs, length=stacked.length, unroll=stacked.unroll)
    return *carry, new, ys


def _pair(stacked: Stacked[Any], out: Any) -> Any:
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(
            f"`Stacked` was called with `collect=True`, so each {type(stacked.layers).__name__} "
            f"must return a pair (x, y), but it returned a {type(out).__name__}."
        )
    return out


def _checked_unroll(unroll: int | bool) -> int | bool:
    return unroll if isinstance(unroll, bool) else size("Stacked", "unroll", unroll, least=1)


def _check_each(stacked: Stacked[Any], each: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
    for name in each.keys() & shared.keys():
        raise ValueError(f"`Stacked`: the argument `{name}` is in `each` and in `shared`.")
    for path, leaf in jtu.tree_leaves_with_path(each):
        if is_array(leaf) and leaf.shape[:1] != (stacked.length,):
            raise ValueError(
                f"`Stacked`: `each{path_str(path)}` must have a leading axis of size "
                f"{stacked.length}, one entry for each layer, but is of shape {leaf.shape}. What "
                f"is the same for all layers goes into `shared`."
            )


def _check_like(layer: Any, given: Any, out: Any) -> None:
    kinds = [
        (jtu.tree_structure(t), [(jax.numpy.shape(x), x.dtype) for x in jtu.tree_leaves(t)])
        for t in (given, out)
    ]
    if kinds[0] != kinds[1]:
        old, new = (jtu.tree_map(_written, t) for t in (given, out))
        raise ShapeError(
            f"`Stacked`: each {type(layer).__name__} must return what is of the structure, shape "
            f"and dtype of its input, since the next one takes it. It was given {old} and returned "
            f"{new}.",
            layer,
            getattr(given, "shape", None),
            getattr(out, "shape", None),
        )


def _written(x: Array) -> str:
    return f"{x.dtype}[{','.join(map(str, jax.numpy.shape(x)))}]"
