"""`ShapeError` for an input of the wrong shape, and the checks of inputs and of sizes.

Shapes are known while tracing, so every check here reads the same eagerly and under `jax.jit`.
"""

from typing import Any, NoReturn

from tree_surgery.extend import public

ONE_CHANNEL = "For an image without channels add the axis: `layer(x[None])`."
"""The fix where the axis of channels may be missing."""


@public
class ShapeError(ValueError, TypeError):
    """A layer was called on an array of the wrong shape.

    It is a `ValueError`, and a `TypeError` as well, since for a shape that does not fit JAX itself
    raises sometimes the one and sometimes the other.

    **Attributes:**

    - `layer`: the layer that was called.
    - `expected`: the shape it takes, in words or as a tuple; names stand for free sizes.
    - `received`: the shape of what it was given.
    - `path`: where the layer is in the one that was called, such as `MLP.layers[0]`; empty if it
        was called itself.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Linear, ShapeError

        linear = Linear(3, 2, key=jax.random.key(0))
        try:
            linear(jnp.ones((5, 3)))
        except ShapeError as error:
            assert error.received == (5, 3)
            assert "jax.vmap" in str(error)
        ```
    """

    layer: Any
    expected: tuple[Any, ...] | None
    received: tuple[int, ...] | None
    path: str

    def __init__(
        self,
        message: str,
        layer: object = None,
        expected: tuple[Any, ...] | None = None,
        received: tuple[int, ...] | None = None,
    ):
        super().__init__(message)
        self.layer = layer
        self.expected = expected
        self.received = received
        self.path = ""

    def __str__(self) -> str:
        return f"{self.path}: {super().__str__()}" if self.path else super().__str__()


def add_layer_path(error: Exception, outer: Any, accessor: str, inner: Any) -> None:
    """Adds to an error the path of the layer that raised it: `outer.accessor`, as `layers[0]`.

    A container calls it in an `except`, and raises the error again. So the error reads the same
    eagerly and under `jax.jit`, and a call without an error costs nothing.
    """
    path = f"{type(outer).__name__}.{accessor}"
    if isinstance(error, ShapeError):
        # A path that exists begins with the class of `inner`, which is at `path` in `outer`.
        error.path = path + error.path[len(type(inner).__name__) :]
    else:
        error.add_note(f"This was in {path}, a {type(inner).__name__}.")


def shape_of(layer: Any, x: Any) -> tuple[int, ...]:
    """The shape of what a layer was called on.

    **Raises:** `TypeError` if `x` is not an array, naming the layer.
    """
    try:
        return x.shape
    except AttributeError:
        if isinstance(x, (bool, int, float, complex)):
            return ()
        raise TypeError(
            f"`{type(layer).__name__}` takes an array, but was called on a "
            f"{type(x).__name__}: {x!r}. Convert it with `jax.numpy.asarray`."
        ) from None


def kind_of(x: Any) -> str:
    """The shape of an array, or the type of anything else: the same eagerly and while traced."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"an array of shape {x.shape}"
    return f"a {type(x).__name__}"


def shape_in_words(shape: tuple[Any, ...]) -> str:
    """A shape in words: `("in_channels=3", "height")` is `(in_channels=3, height)`."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def refuse_shape(
    layer: Any, expected: tuple[Any, ...], received: tuple[int, ...], fix: str = ""
) -> NoReturn:
    """Raises the `ShapeError` of a layer that takes `expected` and was given `received`."""
    name = type(layer).__name__
    message = (
        f"`{name}` takes an array of shape {shape_in_words(expected)}, but received one of shape "
        f"{received}."
    )
    extra = len(received) - len(expected)
    if not fix and extra > 0:
        call = "layer"
        for _ in range(extra):
            call = f"jax.vmap({call})"
        axes = "is a batch axis" if extra == 1 else f"are {extra} batch axes"
        fix = (
            f"A layer takes one example. If there {axes}, you might need to replace `layer(x)` "
            f"with `{call}(x)`."
        )
    raise ShapeError(f"{message} {fix}".rstrip(), layer, expected, received)


def check_shape(layer: Any, x: Any, expected: tuple[int, ...]) -> None:
    """Refuses an `x` that is not of the shape `expected`."""
    received = shape_of(layer, x)
    if received != expected:
        refuse_shape(layer, expected, received)


def check_vector(layer: Any, name: str, x: Any, expected: int) -> None:
    """Refuses an `x` that is no vector of the size `expected`, which the error calls `name`."""
    received = shape_of(layer, x)
    if received != (expected,):
        refuse_shape(layer, (f"{name}={expected}",), received)


def validate_size(layer: str, name: str, value: Any, least: int = 0) -> int:
    """A size given to a constructor, as an `int`.

    **Raises:** `TypeError` if it is no integer, `ValueError` if it is less than `least`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"`{layer}`: `{name}` must be an integer, got {value!r}.")
    value = value.__index__()
    if value < least:
        raise ValueError(f"`{layer}`: `{name}` must be at least {least}, got {value}.")
    return value
