"""`Stacked`: equal layers one after the other, as one layer with a longer axis, run by a scan."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, Self, SupportsIndex, overload

import jax
import jax.random as jr
import jax.tree_util as jtu
from jaxtyping import Array, PRNGKeyArray

from filtered_transforms import is_array
from nn_layers._core.layer_protocol import StatefulLayer, is_stateful_layer
from nn_layers._core.missing import MISSING
from nn_layers._core.shape_errors import validate_size
from nn_layers._state.state import State
from nn_layers._state.state_arguments import pass_state_on
from nn_layers._state.state_index import with_markers_of
from nn_layers._types import L, Layer_co, S, X, Y
from pytree_module import field, module_from_fields
from tree_surgery import tree_stack, tree_unstack
from tree_surgery.extend import public

from .make_stack import make_stack
from .remat import Remat, checked_remat
from .scan_layers import LayerStates, NamedArguments, check_named_arguments, scan_layers

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

    **Initialisation:** layer $i$ is `make(jax.random.split(key, n)[i])`. On the CPU up to 64 are
    made one by one, and no program is compiled for the stack. Else they are made within a single
    trace, so that beside the result there is memory needed for one.

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
        n = validate_size("Stacked", "n", n)
        self.layers = make_stack(make, key, n)
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
        states = self._layer_states(state) if stateful else LayerStates(None, None)
        keys = None if key is None else jr.split(key, self.length)
        named = NamedArguments(keys, dict(shared or {}), dict(each or {}))
        check_named_arguments(self, named)
        x, ys, new = scan_layers(self, x, states, named, collect)
        out = (x, ys) if collect else x
        if not stateful:
            return pass_state_on(self, out, state, _NOT_STATEFUL)
        if states.own is None:
            return out, new.carried
        return out, (state if new.own is None else state.update(new.own))

    def _layer_states(self, state: Any) -> LayerStates:
        """The part of a `State` that belongs to the layers; another state as it is."""
        if state is MISSING:
            raise ValueError(
                "`Stacked` was called without a `state`, but its layers are stateful: use "
                "`stacked(x, state, key=key)`, with `stacked, state = make_with_state(...)`."
            )
        if isinstance(state, State):
            return LayerStates(own=state.substate(self.layers), carried=None)
        return LayerStates(own=None, carried=state)

    @overload
    def __getitem__(self, i: slice) -> Self: ...
    @overload
    def __getitem__(self, i: SupportsIndex | Array) -> Layer_co: ...
    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            length = len(range(*i.indices(self.length)))
            layers = _index_layers(self.layers, i)
            return module_from_fields(type(self), self, layers=layers, length=length)
        if hasattr(i, "__index__") and not isinstance(i, jax.Array):
            index = i.__index__()
            if not -self.length <= index < self.length:
                raise IndexError(f"`Stacked` of {self.length} layers has no layer {index}.")
            return _index_layers(self.layers, index)
        if hasattr(i, "dtype") and i.shape == ():
            return _index_layers(self.layers, i)  # an index that may be traced
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


def _index_layers(layers: Any, i: Any) -> Any:
    """The layers with every array indexed by `i` along its leading axis."""
    return jtu.tree_map(lambda leaf: leaf[i] if is_array(leaf) else leaf, layers)


def _checked_unroll(unroll: int | bool) -> int | bool:
    """`unroll`, as `jax.lax.scan` takes it."""
    return (
        unroll if isinstance(unroll, bool) else validate_size("Stacked", "unroll", unroll, least=1)
    )
