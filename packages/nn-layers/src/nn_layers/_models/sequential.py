"""Layers one after the other."""

import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, SupportsIndex, overload

import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.missing import MISSING
from nn_layers._core.shape_errors import located
from nn_layers._state.state import passed_on
from nn_layers._types import Layers, Result_co, S
from pytree_module import Module
from tree_surgery.extend import public


@public
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
    return isinstance(layer, StatefulLayer) and layer.is_stateful()


# Reading a signature takes longer than calling a layer: it is read once for each class of layers.
# Weak, so that it keeps no class alive; two threads that meet here write the same.
_TAKES_KEY: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def takes_key(layer: Any) -> bool:
    """Whether `layer(x, key=...)` is possible."""
    cls = type(layer)
    known = _TAKES_KEY.get(cls)
    if known is None:
        known = _reads_key(layer)
        # What wraps a function may have its signature, which differs between instances.
        if isinstance(layer, Module) and not hasattr(layer, "__wrapped__"):
            _TAKES_KEY[cls] = known
    return known


def _reads_key(layer: Any) -> bool:
    """As the signature says; if there is none, nobody can know, and the answer is no."""
    try:
        parameters = inspect.signature(layer).parameters
    except (TypeError, ValueError):
        return False
    named = parameters.get("key")
    if named is not None and named.kind is not inspect.Parameter.POSITIONAL_ONLY:
        return True
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


@public
class Sequential(StatefulLayer, Generic[*Layers]):
    r"""Composes layers: $y = f_n(\cdots f_2(f_1(x)))$.

    **Arguments:**

    - `layers`: the layers, first to last. Each is called as `layer(x, key=key)`; one that takes no
        `key`, such as `jax.nn.relu`, as `layer(x)`; a `StatefulLayer` as
        `layer(x, state, key=key)`.

    **Raises:** `TypeError` if one of them cannot be called, or is a class of layers.

    `sequential[i]` is a layer, `sequential[i:j]` a `Sequential` of some; it has a length and can be
    iterated over.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Dropout, Linear, Sequential

        key1, key2, key3 = jax.random.split(jax.random.key(0), 3)
        model = Sequential([Linear(3, 8, key=key1), jax.nn.relu, Dropout(), Linear(8, 2, key=key2)])
        assert model(jnp.ones(3), key=key3).shape == (2,)
        assert len(model[:2]) == 2
        ```
    """

    layers: tuple[*Layers]

    @overload
    def __init__(self, layers: tuple[*Layers]): ...
    @overload
    def __init__(self: "Sequential[*tuple[Any, ...]]", layers: Sequence[Callable[..., Any]]): ...
    def __init__(self, layers: Sequence[Any]):
        self.layers = layers = tuple(layers)
        for i, layer in enumerate(layers):
            if not callable(layer) or (isinstance(layer, type) and issubclass(layer, Module)):
                raise TypeError(
                    f"`Sequential` takes layers, which can be called, but `layers[{i}]` is "
                    f"{layer!r}."
                )

    @overload
    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array: ...
    @overload
    def __call__(
        self, x: Array, state: S, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, S]: ...
    def __call__(
        self: "Sequential[*tuple[Any, ...]]",
        x: Any,
        state: Any = MISSING,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Any:
        """Calls the layers one after the other.

        **Arguments:**

        - `x`: what the first layer takes.
        - `state`: needed if one of the layers is stateful; handed from each of these to the next.
        - `key`: split into one for each layer, in order; `None` gives `None` to all.

        **Returns:** what the last layer returns; with a `state`, the pair of it and the new state.

        **Raises:** `ValueError` if a layer is stateful and there is no `state`; `TypeError` if none
        is, and `state` is no `State` to be passed on.
        """
        if key is None or not self.layers:
            keys: Any = (None,) * len(self.layers)
        else:
            keys = jr.split(key, len(self.layers))
        new_state, any_stateful = state, False
        for i, (layer, layer_key) in enumerate(zip(self.layers, keys, strict=True)):
            stateful = is_stateful_layer(layer)
            if stateful and state is MISSING:
                raise ValueError(
                    f"`Sequential` was called without a `state`, but its layer "
                    f"{type(layer).__name__} is stateful: use `model(x, state, key=key)`, with "
                    f"`model, state = make_with_state(...)`."
                )
            try:
                if stateful:
                    any_stateful = True
                    x, new_state = layer(x, new_state, key=layer_key)
                elif takes_key(layer):
                    x = layer(x, key=layer_key)
                else:
                    x = layer(x)
            except Exception as error:
                located(error, self, f"layers[{i}]", layer)
                raise
        return (x, new_state) if any_stateful else passed_on(self, x, state)

    @overload
    def __getitem__(self, i: slice) -> "Sequential": ...
    @overload
    def __getitem__(self, i: SupportsIndex) -> Any: ...
    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return Sequential(self.layers[i])
        if hasattr(i, "__index__"):
            return self.layers[i]
        raise TypeError(f"`Sequential` takes an integer or a slice as index, got {i!r}.")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def is_stateful(self) -> bool:
        """**Returns:** whether any of the layers is stateful."""
        return any(map(is_stateful_layer, self.layers))


@public
class Lambda(Module, Generic[Result_co]):
    """Makes a layer of a function: $y = f(x)$. It takes a `key`, and ignores it.

    **Arguments:**

    - `fn`: the function. If it is a PyTree, its leaves are those of the layer.

    **Raises:** `TypeError` if it cannot be called.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Lambda

        relu = Lambda(jax.nn.relu)
        assert relu(jnp.array(-1.0)) == 0
        ```
    """

    fn: Callable[[Any], Result_co]

    def __init__(self, fn: Callable[[Any], Result_co]):
        if not callable(fn):
            raise TypeError(f"`Lambda` takes a function, but received {fn!r}.")
        self.fn = fn

    def __call__(self, x: Any, *, key: PRNGKeyArray | None = None) -> Result_co:
        """**Returns:** `fn(x)`. `key` is ignored."""
        return self.fn(x)
