"""`State`: the values that layers keep from one call to the next, handed on by value.

A `State` maps the marker of each `StateIndex` to its value. It is replaced, not changed.
"""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu
import wadler_lindig as wl

from nn_layers._core.signatures import signature_difference
from nn_layers._types import Value
from tree_surgery import tree_pformat
from tree_surgery.extend import public

from .state_index import StateIndex, has_init, is_state_index, state_indices

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

    _values: dict[Any, Any] | None
    """The value of each marker, in the order of the indices; `None` once the state is spent."""

    def __init__(self, model: object):
        values: dict[Any, Any] = {}
        for index in state_indices(model):
            if not has_init(index):
                raise ValueError(
                    "Do not call `State(model)` on a model whose initial state was moved out. Call "
                    "`model, state = make_with_state(ModelClass)(...arguments...)` instead."
                )
            values[index.marker] = jtu.tree_map(jnp.asarray, index.init)
        self._values = values

    @classmethod
    def _from_values(cls, values: dict[Any, Any]) -> "State":
        """The state of these values, by marker."""
        # `__init__` takes a model. A state is no `Module`: it is set to spent when it is replaced.
        state = cls.__new__(cls)
        state._values = values
        return state

    def _unspent_values(self) -> dict[Any, Any]:
        """The values. **Raises:** `ValueError` if a newer state has replaced this one."""
        if self._values is None:
            raise ValueError(_OLD)
        return self._values

    def _values_with(self, item: Any) -> dict[Any, Any]:
        """The values, among which there is one for `item`. **Raises:** as `get`, if not."""
        if not is_state_index(item):
            raise ValueError(f"Only a `StateIndex` is a key of a `State`, got {item!r}.")
        values = self._unspent_values()
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
        return self._values_with(item)[item.marker]

    def set(self, item: StateIndex[Value], value: Value) -> "State":
        """A new state, with another value at an index. This one must not be used any more.

        **Arguments:**

        - `item`: a `StateIndex` of the model.
        - `value`: of the structure, shapes and dtypes of the current value.

        **Returns:** the new state.

        **Raises:** `ValueError` if `value` is not like the current one, and as `get`.
        """
        values = self._values_with(item)
        value = jtu.tree_map(jnp.asarray, value)
        _check_same_signature(item, values[item.marker], value)
        self._values = None
        return State._from_values({**values, item.marker: value})

    def substate(self, pytree: object) -> "State":
        """The part of the state that belongs to a part of the model.

        **Arguments:**

        - `pytree`: a layer, or any PyTree of layers.

        **Returns:** a state of the indices in `pytree`; bring it back by `update`. This one stays
        usable.

        **Raises:** as `get`.
        """
        return State._from_values(
            {index.marker: self.get(index) for index in state_indices(pytree)}
        )

    def update(self, substate: "State") -> "State":
        """A new state, with the values of a substate. This one must not be used any more.

        **Arguments:**

        - `substate`: what `substate` returned, or a newer state of the same indices.

        **Returns:** the new state.

        **Raises:** `ValueError` if it is no state, or has indices that are not in this one.
        """
        if not isinstance(substate, State):  # pyright: ignore[reportUnnecessaryIsInstance]  (a user may)
            raise ValueError(f"`State.update` takes a `State`, got a {type(substate).__name__}.")
        values, new = self._unspent_values(), substate._unspent_values()
        unknown = [str(marker) for marker in new if marker not in values]
        if unknown:
            raise ValueError(
                f"Cannot call `state1.update(state2)` unless `state2` is a substate of `state1`: "
                f"{', '.join(unknown)} is not in `state1`."
            )
        self._values = None
        return State._from_values({**values, **new})

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """For JAX. **Returns:** the values, and their markers."""
        values = self._unspent_values()
        return tuple(values.values()), tuple(values)

    def tree_flatten_with_keys(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """For JAX. **Returns:** pairs of key and value, and the markers."""
        values = self._unspent_values()
        return tuple((jtu.DictKey(m), v) for m, v in values.items()), tuple(values)

    @classmethod
    def tree_unflatten(cls, keys: tuple[Any, ...], values: Iterable[Any]) -> "State":
        """For JAX. **Returns:** the state of these markers and values."""
        return cls._from_values(dict(zip(keys, values, strict=True)))

    def __repr__(self) -> str:
        return tree_pformat(self)

    def __pdoc__(self, **kwargs: Any) -> wl.AbstractDoc:
        # `wadler_lindig`, and so `tree_pformat`, calls this to print a state within a larger tree.
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


def _check_same_signature(item: StateIndex[Any], old: Any, new: Any) -> None:
    """Refuses a new value whose structure, shapes or dtypes are not those of the old one."""
    difference = signature_difference(old, new)
    if difference is not None:
        raise ValueError(
            f"Old and new values of a state have different structures, shapes or dtypes. Of the "
            f"value at {item.marker}, at {difference.path} the old one is {difference.expected} "
            f"and the new one is {difference.found}."
        )
