"""`StateIndex`: the place of a value in a `State`."""

from typing import Any, Generic

import jax.tree_util as jtu

from nn_layers._types import T, Value
from pytree_module import Module, field, module_from_fields


class _Sentinel(Module):
    """Stands for an initial value that moved to the `State`. Printed and pickled by this name."""


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


def is_state_index(x: Any) -> bool:
    """Whether `x` is a `StateIndex`: the `is_leaf` with which a model is searched for them."""
    return isinstance(x, StateIndex)


def state_indices(pytree: Any) -> list[StateIndex[Any]]:
    """All indices in a tree, in the order of its leaves."""
    return [x for x in jtu.tree_leaves(pytree, is_leaf=is_state_index) if is_state_index(x)]


def marked_index(marker: object, init: Any) -> StateIndex[Any]:
    """A `StateIndex` of this marker. (The constructor makes one that is equal to no other.)"""
    return module_from_fields(StateIndex, marker=marker, init=init)


def without_init(index: StateIndex[Any]) -> StateIndex[Any]:
    """The index, whose initial value was moved to a `State`."""
    return marked_index(index.marker, _Sentinel())


def has_init(index: StateIndex[Any]) -> bool:
    """Whether the index still has its initial value."""
    return not isinstance(index.init, _Sentinel)


def with_markers_of(first: Any, other: T) -> T:
    """`other` with the markers of `first`, index by index: both are layers of one structure.

    Layers that are stacked must agree in all that is static, so also in their markers.
    """
    markers = iter([index.marker for index in state_indices(first)])

    def mark(x: Any) -> Any:
        return marked_index(next(markers, x.marker), x.init) if is_state_index(x) else x

    return jtu.tree_map(mark, other, is_leaf=is_state_index)
