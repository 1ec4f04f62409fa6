"""One-, two- and three-dimensional layers: the general definition, for a fixed number of axes."""

import functools
import inspect
import re
from types import FunctionType
from typing import Any

_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
_SIZES = ("stride", "padding", "output_padding", "dilation")
_FIXED = ("num_spatial_dims", "init", "operation")


def specialise(
    variant: type[Any],
    ndim: int,
    formula: type[Any],
    sections: type[Any],
    tuples: bool = False,
) -> None:
    """Makes a subclass the variant of a general layer for `ndim` dimensions.

    Its docstring is completed, and its constructor gets its name (for errors). With `tuples`, which
    is for two and more dimensions, the defaults of sizes become tuples: `stride=(1, 1)`.
    """
    _document(variant, ndim, formula, sections)
    old: Any = variant.__init__
    assert isinstance(old, FunctionType)
    new: Any = FunctionType(old.__code__, old.__globals__, old.__name__, None, old.__closure__)
    functools.update_wrapper(new, old)
    del new.__wrapped__  # its signature is its own
    new.__qualname__ = f"{variant.__name__}.__init__"
    new.__kwdefaults__ = old.__kwdefaults__
    defaults = old.__defaults__ or ()
    names = old.__code__.co_varnames[: old.__code__.co_argcount]
    start = len(names) - len(defaults)
    new.__defaults__ = tuple(
        (value,) * ndim if tuples and ndim > 1 and name in _SIZES else value
        for name, value in zip(names[start:], defaults, strict=True)
    )
    variant.__init__ = new


def _document(variant: type[Any], ndim: int, formula: type[Any], sections: type[Any]) -> None:
    """Completes the docstring of a variant, between its first sentences and its example.

    There go the formula, from the docstring of one class, and shapes, initialisation, arguments,
    errors and source, from that of another; without the arguments that the variant fixes, and with
    its names for the axes.
    """
    own, first, rest = (inspect.getdoc(cls) for cls in (variant, formula, sections))
    if not (own and first and rest):
        return  # `python -OO` has no docstrings
    text = first.partition("**Shapes:**")[0].partition("\n\n")[2]
    text += "**Shapes:**" + rest.partition("**Shapes:**")[2].partition("!!! example")[0]
    for name in _FIXED:
        text = re.sub(rf"- `{name}`:.*?\n(?=- |\n)", "", text, flags=re.DOTALL)
    for prefix in ("", "new_"):
        axes = ", ".join(f"{prefix}{axis}" for axis in _AXES[ndim])
        text = text.replace(f"{prefix}dim_1, ..., {prefix}dim_N", axes)
    text = text.replace("1, ..., 1", ", ".join(["1"] * ndim))
    head, mark, example = own.partition("!!! example")
    variant.__doc__ = head + text + mark + example
