"""One-, two- and three-dimensional layers: the general definition, for a fixed number of axes."""

import re
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., None])
_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
_FIXED = ("num_spatial_dims", "init", "operation")


def one_each(init: _F, ndim: int) -> _F:
    """A copy of a constructor whose integer defaults of sizes are tuples: `stride=(1, 1)`.

    The layers for one, two and three dimensions share their code and their parameters, and differ
    in these defaults. Each copy has its true signature.
    """
    assert isinstance(init, FunctionType) and init.__defaults__ is not None
    code = init.__code__
    names = code.co_varnames[: code.co_argcount][-len(init.__defaults__) :]
    sizes = ("stride", "padding", "output_padding", "dilation")
    new = tuple(
        (old,) * ndim if name in sizes else old
        for name, old in zip(names, init.__defaults__, strict=True)
    )
    copy = FunctionType(code, init.__globals__, init.__name__, new, init.__closure__)
    copy.__kwdefaults__ = init.__kwdefaults__
    copy.__annotations__ = init.__annotations__
    copy.__doc__ = init.__doc__
    copy.__module__ = init.__module__
    copy.__qualname__ = init.__qualname__
    return copy  # pyright: ignore[reportReturnType] (the same type as `init`)


def document(variant: type[Any], ndim: int, formula: type[Any], sections: type[Any]) -> None:
    """Completes the docstring of a variant, between its first sentences and its example.

    There go the formula, from the docstring of one class, and shapes, initialisation, arguments,
    errors and source, from that of another; without the arguments that the variant fixes, and with
    its names for the axes.
    """
    if not (variant.__doc__ and formula.__doc__ and sections.__doc__):
        return  # `python -OO` has no docstrings
    first, _, _ = formula.__doc__.partition("    **Shapes:**")
    text = first.partition("\n\n")[2]
    text += "    **Shapes:**" + sections.__doc__.partition("**Shapes:**")[2]
    text, _, _ = text.partition("    !!! example")
    for name in _FIXED:
        text = re.sub(rf"    - `{name}`:.*?\n(?=    - |\n)", "", text, flags=re.DOTALL)
    for prefix in ("", "new_"):
        axes = ", ".join(f"{prefix}{axis}" for axis in _AXES[ndim])
        text = text.replace(f"{prefix}dim_1, ..., {prefix}dim_N", axes)
    text = text.replace("1, ..., 1", ", ".join(["1"] * ndim))
    head, mark, example = variant.__doc__.partition("    !!! example")
    variant.__doc__ = head + text + mark + example
