"""The argument `state` of layers: those without a state pass it on, the others check it."""

from typing import Any, TypeVar

from nn_layers._core.missing import MISSING
from nn_layers._core.shape_errors import kind_of

from .state import State

StateOrNone = TypeVar("StateOrNone", bound="State | None")
"""The state that a layer without one takes and gives back."""


def pass_state_on(layer: Any, y: Any, state: Any, hint: str = "") -> Any:
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
    """Raise if an argument is not a `State`, naming the layer that was called with it."""
    if not isinstance(state, State):
        raise TypeError(
            f"`{type(layer).__name__}` takes a `State` as second argument, but received "
            f"{kind_of(state)}: use `layer(x, state)`, with "
            f"`model, state = make_with_state(...)`."
        )
