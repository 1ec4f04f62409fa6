"""State: what layers keep from one call to the next, handed on by value."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import jax.numpy as jnp
import jax.tree_util as jtu
import wadler_lindig as wl

from nn_layers._core.missing import MISSING
from nn_layers._core.shape_errors import kind_of
from nn_layers._types import P, T, Value
from pytree_module import Module, field, module_from_fields
from tree_surgery import tree_pformat
from tree_surgery.extend import public

PassedOn = TypeVar("PassedOn", bound="State | None")
"""The state that a layer without one takes and gives back."""


class _Sentinel(Module):
    """Stands where the initial value of a `StateIndex` was: it moved into the `State`."""


@public
class StateIndex(Module, Generic[Value]):
    """The place of one value in a `State`, and the value that is there at first.

    **Arguments:**

    - `init`: the initial value: an array, or any PyTree of arrays and numbers.

    `StateIndex[T]` is, for type checkers, the place of a `T`.

    A layer makes its indices in `__init__`; `make_with_state` names each by its path in the model
    (its `marker`) and moves the initial values into the state. Two that are not named yet are never
    equal, since two layers of one model must not share a value: so two `BatchNorm`s made directly
    are unequal, and two models from `make_with_state`, made alike, are equal.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import StatefulLayer, StateIndex, make_with_state

        class Counter(StatefulLayer):
            index: StateIndex[jax.Array]

            def __init__(self):
                self.index = StateIndex(jnp.array(0))

            def __call__(self, x, state, *, key=None):
                count = state.get(self.index)
                return x + count, state.set(self.index, count + 1)

        counter, state = make_with_state(Counter)()
        y, state = counter(jnp.array(5), state)
        y, state = counter(y, state)
        assert y == 6 and state.get(counter.index) == 2
        ```
    """

    marker: object = field(static=True)
    init: Value | _Sentinel

    def __init__(self, init: Value):
        self.marker = object()
        self.init = init


def _is_index(x: Any) -> bool:
    return isinstance(x, StateIndex)


def _indices(pytree: Any) -> list[StateIndex[Any]]:
    return [x for x in jtu.tree_leaves(pytree, is_leaf=_is_index) if _is_index(x)]


def _index(marker: object, init: Any) -> StateIndex[Any]:
    return module_from_fields(StateIndex, marker=marker, init=init)


def with_markers_of(first: Any, other: T) -> T:
    """`other`, with the markers of the `StateIndex`es in `first`, which is made alike."""
    markers = iter([index.marker for index in _indices(first)])

    def mark(x: Any) -> Any:
        return _index(next(markers, x.marker), x.init) if _is_index(x) else x

    return jtu.tree_map(mark, other, is_leaf=_is_index)


_OLD = """Attempted to use old state. Probably you have done something like:
```
x, state2 = layer1(x, state1)
x, state3 = layer2(x, state1)  # bug! Re-used state1 instead of using state2.
```
A state that was set or updated has been replaced by the new one that was returned: use that. If you
meant to keep the old state, take a copy before:
```
leaves, treedef = jax.tree_util.tree_flatten(state)
copy = jax.tree_util.tree_unflatten(treedef, leaves)
```"""


@public
@jtu.register_pytree_with_keys_class
class State:
    """The values of all stateful layers of a model.

    It is a PyTree of arrays: it passes through `jax.jit`, `jax.vmap`, `jax.lax.scan` and saving
    like any other. It is never changed: `set` and `update` return a new one. The one they were
    called on is spent, and using it afterwards is an error, since it is nearly always a mistake.

    **Arguments:**

    - `model`: a PyTree with `StateIndex`es in it. Do not call this yourself; use
        `make_with_state`.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import BatchNorm, make_with_state

        norm, state = make_with_state(BatchNorm)(3, axis_name="batch", mode="batch")
        batched = jax.vmap(norm, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        y, state = batched(jnp.arange(12.0).reshape(4, 3), state)
        assert state.get(norm.batch_counter) == 1

        # Handed on by a scan over batches, and saved with the model.
        import io
        from filtered_transforms import filter_scan
        from tree_surgery import tree_deserialise_leaves, tree_equal, tree_serialise_leaves

        def step(state, x):
            y, state = batched(x, state)
            return state, y

        state, ys = filter_scan(step, state, jax.random.normal(jax.random.key(0), (5, 4, 3)))
        assert state.get(norm.batch_counter) == 6

        file = io.BytesIO()
        tree_serialise_leaves(file, (norm, state))
        file.seek(0)
        like = make_with_state(BatchNorm)(3, axis_name="batch", mode="batch")
        assert tree_equal(tree_deserialise_leaves(file, like), (norm, state))
        ```
    """

    # From marker to value; `None` once it is spent.
    _values: dict[Any, Any] | None

    def __init__(self, model: object):
        values: dict[Any, Any] = {}
        for index in _indices(model):
            if isinstance(index.init, _Sentinel):
                raise ValueError(
                    "Do not call `State(model)` on a model whose initial state was moved out. Call "
                    "`model, state = make_with_state(ModelClass)(...arguments...)` instead."
                )
            values[index.marker] = jtu.tree_map(jnp.asarray, index.init)
        self._values = values

    @classmethod
    def _of(cls, values: dict[Any, Any]) -> "State":
        state = object.__new__(cls)
        state._values = values
        return state

    def _live(self) -> dict[Any, Any]:
        if self._values is None:
            raise ValueError(_OLD)
        return self._values

    def _known(self, item: Any) -> dict[Any, Any]:
        if not _is_index(item):
            raise ValueError(f"Only a `StateIndex` is a key of a `State`, got {item!r}.")
        values = self._live()
        if item.marker not in values:
            held = ", ".join(map(str, values)) or "nothing"
            raise KeyError(
                f"This `State` has no value for the index {item.marker}: it holds {held}. Model "
                f"and state must come from the same call of `make_with_state`, or the state be a "
                f"`substate` with this layer in it."
            )
        return values

    def get(self, item: StateIndex[Value]) -> Value:
        """The current value at an index.

        **Arguments:**

        - `item`: a `StateIndex` of the model.

        **Returns:** the value: a PyTree of arrays.

        **Raises:** `ValueError` if this state was replaced by a newer one, `KeyError` if it has no
        such index.
        """
        return self._known(item)[item.marker]

    def set(self, item: StateIndex[Value], value: Value) -> "State":
        """A new state, with another value at an index. This one must not be used any more.

        **Arguments:**

        - `item`: a `StateIndex` of the model.
        - `value`: of the structure, shapes and dtypes of the current value.

        **Returns:** the new state.

        **Raises:** `ValueError` if `value` is not like the current one, and as `get`.
        """
        values = self._known(item)
        value = jtu.tree_map(jnp.asarray, value)
        _check_alike(item, values[item.marker], value)
        self._values = None
        return State._of({**values, item.marker: value})

    def substate(self, pytree: object) -> "State":
        """The part of the state that belongs to a part of the model.

        **Arguments:**

        - `pytree`: a layer, or any PyTree of layers.

        **Returns:** a state of the indices in `pytree`; bring it back by `update`. This one stays
        usable.

        **Raises:** as `get`.
        """
        return State._of({index.marker: self.get(index) for index in _indices(pytree)})

    def update(self, substate: "State") -> "State":
        """A new state, with the values of a substate. This one must not be used any more.

        **Arguments:**

        - `substate`: what `substate` returned, or a newer state of the same indices.

        **Returns:** the new state.

        **Raises:** `ValueError` if it is no state, or has indices that are not in this one.
        """
        if not isinstance(substate, State):  # pyright: ignore[reportUnnecessaryIsInstance]  (a user may)
            raise ValueError(f"`State.update` takes a `State`, got a {type(substate).__name__}.")
        values, new = self._live(), substate._live()
        unknown = [str(marker) for marker in new if marker not in values]
        if unknown:
            raise ValueError(
                f"Cannot call `state1.update(state2)` unless `state2` is a substate of `state1`: "
                f"{', '.join(unknown)} is not in `state1`."
            )
        self._values = None
        return State._of({**values, **new})

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """For JAX. **Returns:** the values, and their markers."""
        values = self._live()
        return tuple(values.values()), tuple(values)

    def tree_flatten_with_keys(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """For JAX. **Returns:** pairs of key and value, and the markers."""
        values = self._live()
        return tuple((jtu.DictKey(m), v) for m, v in values.items()), tuple(values)

    @classmethod
    def tree_unflatten(cls, keys: tuple[Any, ...], values: Iterable[Any]) -> "State":
        """For JAX. **Returns:** the state of these markers and values."""
        return cls._of(dict(zip(keys, values, strict=True)))

    def __repr__(self) -> str:
        return tree_pformat(self)

    def __pdoc__(self, **kwargs: Any) -> wl.AbstractDoc:
        # How wadler-lindig, and with it `tree_pformat`, prints it within a larger tree.
        if self._values is None:
            return wl.TextDoc("State(~old~)")
        values = [(str(marker), value) for marker, value in self._values.items()]
        return wl.bracketed(
            begin=wl.TextDoc("State("),
            docs=wl.named_objs(values, **kwargs),
            sep=wl.comma,
            end=wl.TextDoc(")"),
            indent=kwargs["indent"],
        )


def _check_alike(item: StateIndex[Any], old: Any, new: Any) -> None:
    kinds = [
        (jtu.tree_structure(x), [(leaf.shape, leaf.dtype) for leaf in jtu.tree_leaves(x)])
        for x in (old, new)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"Old and new values of a state have different structures, shapes or dtypes. The old "
            f"value at {item.marker} is {tree_pformat(old)} and the new value is "
            f"{tree_pformat(new)}."
        )


def passed_on(layer: Any, y: Any, state: Any, hint: str = "") -> Any:
    """What a layer without a state of its own returns: with the state of others, if it was given.

    **Raises:** `TypeError` if `state` is something else, for which the layer has no use.
    """
    if state is MISSING:
        return y
    if not (state is None or isinstance(state, State)):
        raise TypeError(
            f"`{type(layer).__name__}` has no use for {kind_of(state)}: it is not stateful, and as "
            f"`state` takes a `State` or `None`, which it passes on.{hint}"
        )
    return y, state


def check_state(layer: Any, state: Any) -> None:
    """Refuses what is no `State`, naming the layer that was called with it."""
    if not isinstance(state, State):
        raise TypeError(
            f"`{type(layer).__name__}` takes a `State` as second argument, but received "
            f"{kind_of(state)}: use `layer(x, state)`, with "
            f"`model, state = make_with_state(...)`."
        )


@public
def delete_init_state(model: T) -> T:
    """A copy of a model without the initial values in its `StateIndex`es.

    `make_with_state` does so: else the optimiser would see them as parameters.

    **Arguments:**

    - `model`: a PyTree.

    **Returns:** the copy. It cannot be made a `State` of any more.

    !!! example

        ```python
        import jax
        from nn_layers import BatchNorm, State, delete_init_state

        norm = BatchNorm(3, "batch", mode="batch", channelwise_affine=False)
        state = State(norm)
        norm = delete_init_state(norm)
        assert len(jax.tree.leaves(state)) == 3
        ```
    """

    def delete(x: Any) -> Any:
        return _index(x.marker, _Sentinel()) if _is_index(x) else x

    return jtu.tree_map(delete, model, is_leaf=_is_index)


@public
def make_with_state(make_model: Callable[P, T]) -> Callable[P, tuple[T, State]]:
    """Makes a model and its state at once.

    **Arguments:**

    - `make_model`: a class of models, or any function that returns one.

    **Returns:**

    A function of the arguments of `make_model`, which returns `(model, state)`. Each `StateIndex`
    in `model` is marked by its path, such as `Sequential.layers[1].batch_counter`, so that equal
    models have equal states, and a state can be saved, loaded and made under `vmap` (an ensemble).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from filtered_transforms import filter_vmap
        from nn_layers import BatchNorm, Linear, Sequential, make_with_state

        def make(key):
            return Sequential([Linear(3, 2, key=key), BatchNorm(2, "batch", mode="batch")])

        model, state = make_with_state(make)(jax.random.key(0))
        batched = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        y, state = batched(jnp.ones((8, 3)), state)

        keys = jax.random.split(jax.random.key(1), 5)
        ensemble, states = filter_vmap(make_with_state(make))(keys)
        assert ensemble.layers[0].weight.shape == (5, 2, 3)
        ```
    """

    @functools.wraps(make_model)
    def make(*args: P.args, **kwargs: P.kwargs) -> tuple[T, State]:
        model = make_model(*args, **kwargs)
        root = type(model).__name__
        leaves, treedef = jtu.tree_flatten_with_path(model, is_leaf=_is_index)
        named: list[Any] = [
            _index(root + jtu.keystr(path), leaf.init) if _is_index(leaf) else leaf
            for path, leaf in leaves
        ]
        model = treedef.unflatten(named)
        return delete_init_state(model), State(model)

    return make
