"""How a container calls the layers in it: `layer(x)`, with `key=key`, or with a state.

- A layer is called with `key=key` if its signature has that parameter (`takes_key`).
- A `StatefulLayer` is called with a state, and returns a pair of output and new state.
"""

import inspect
import weakref
from typing import Any

from pytree_module import Module


class StatefulLayer(Module):
    """Base class of layers that are called as `layer(x, state, key=key)`, and return `(y, state)`.

    `Sequential` gives the state to those layers which inherit from this class, and only to them.

    !!! example

        ```python
        from nn_layers import Sequential, StatefulLayer

        class Count(StatefulLayer):
            def __call__(self, x, state, *, key=None):
                return x, state + 1

        y, count = Sequential([Count(), Count()])(3.0, 0)
        assert y == 3.0 and count == 2
        ```
    """

    def is_stateful(self) -> bool:
        """Whether this very instance uses its state. Override it for layers that sometimes do.

        **Returns:** `True`, unless overridden.
        """
        return True


def is_stateful_layer(layer: Any) -> bool:
    """Whether `layer` is called as `layer(x, state, key=key)`."""
    return isinstance(layer, StatefulLayer) and layer.is_stateful()


_TAKES_KEY_BY_CLASS: weakref.WeakKeyDictionary[type[Module], bool] = weakref.WeakKeyDictionary()
"""What `takes_key` answered for the instances of each class of layers.

`inspect.signature` takes longer than a call of a layer, so each class is inspected once. The keys
are weak: the cache keeps no class alive. Two threads that miss at once write the same value.
"""


def takes_key(layer: Any) -> bool:
    """Whether `layer` can be called as `layer(x, key=key)`."""
    cls = type(layer)
    answer = _TAKES_KEY_BY_CLASS.get(cls)
    if answer is None:
        answer = _accepts_key(layer)
        # A class with `__wrapped__` takes the signature of what each instance wraps, so one
        # instance says nothing about the next.
        if isinstance(layer, Module) and not hasattr(layer, "__wrapped__"):
            _TAKES_KEY_BY_CLASS[cls] = answer
    return answer


def _accepts_key(callable_: Any) -> bool:
    """Whether the signature has a parameter `key`; no, if there is no signature."""
    try:
        parameters = inspect.signature(callable_).parameters
    except (TypeError, ValueError):
        return False
    named = parameters.get("key")
    if named is not None and named.kind is not inspect.Parameter.POSITIONAL_ONLY:
        return True
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
