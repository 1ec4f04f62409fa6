"""Where public objects say that they are."""

import typing
from types import FunctionType
from typing import Any


def publish(module: str, names: list[str], namespace: dict[str, Any]) -> None:
    """`repr` and pickle show where these objects are public, wherever they are written.

    So does `typing.get_overloads`, which looks them up by where the function is.
    """
    for name in names:
        value = namespace[name]
        if not callable(value):  # a primitive, or a table
            continue
        if isinstance(value, FunctionType):
            for variant in typing.get_overloads(value):
                variant.__module__ = module
                typing.overload(variant)
        value.__module__ = module
