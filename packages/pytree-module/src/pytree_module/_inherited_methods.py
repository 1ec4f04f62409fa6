"""Methods that a `Module` class inherits from classes which are no Modules are PyTrees as well.

What such a class holds is not ours to replace, and it may change later. So where it is among the
bases, each value is looked at when it is read from an instance. That takes about a tenth of a
microsecond for each attribute, which classes without such a base do not pay.
"""

import abc
import functools
from collections.abc import Callable
from types import MethodType
from typing import Any, Generic, Protocol

from ._bound_method import as_bound, is_dunder

_Read = Callable[[Any, str], Any]

_WITHOUT_METHODS: frozenset[Any] = frozenset({object, abc.ABC, Generic, Protocol})


def _bind_what(read: _Read) -> _Read:
    """`read`, the `__getattribute__` of a class, with methods that are PyTrees."""

    @functools.wraps(read)
    def __getattribute__(self: Any, name: str) -> Any:
        value = read(self, name)
        # The type first: few values are methods.
        return as_bound(value, self) if type(value) is MethodType and not is_dunder(name) else value

    marked: Any = __getattribute__
    marked.__binds__ = True
    return __getattribute__


_read = _bind_what(object.__getattribute__)


def bind_inherited(cls: type, module_type: type) -> None:
    """Makes methods PyTrees that instances of `cls` have from bases which are no Modules.

    Those are the ones that are no instances of `module_type`, the metaclass.
    """
    if all(isinstance(base, module_type) or base in _WITHOUT_METHODS for base in cls.__mro__):
        return
    read: Any = cls.__getattribute__
    if not hasattr(read, "__binds__"):
        bound = _read if read is object.__getattribute__ else _bind_what(read)
        type.__setattr__(cls, "__getattribute__", bound)
