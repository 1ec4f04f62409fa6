"""Where a thing is public, and where its source is: `__module__` has to answer both questions."""

import typing
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, overload

T = TypeVar("T")


class PublicPath(str):
    """The `__module__` of a public class: reads as the public path, finds the defining module.

    Python asks `cls.__module__` two different things. `repr`, `pickle` and tracebacks want the path
    under which users import the class. `inspect.getsource` and `typing.get_type_hints` look it up
    in `sys.modules` and want the module whose source defines the class; with the public path they
    raise `OSError`, show unrelated lines of an `__init__.py`, or miss the names in annotations.

    A string answers both. Its text is the public path. Its hash is that of the defining module's
    name, and it equals both names. So a lookup in `sys.modules`, which compares only keys of the
    same hash, finds the defining module, and `cls.__module__ == "nn_layers"` still holds. The price
    is that a `set` or `dict` of public paths does not find it: convert it by `str` first.

    Pickled or copied, it is a plain string: whoever loads it needs nothing of this file.
    """

    __slots__ = ("defined_in",)

    defined_in: str

    def __new__(cls, path: str, defined_in: str) -> "PublicPath":
        self = super().__new__(cls, path)
        self.defined_in = defined_in
        return self

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True or str.__eq__(self.defined_in, other) is True

    def __ne__(self, other: object) -> bool:  # `str` has its own, which `==` would not reach
        return not self == other

    def __hash__(self) -> int:
        return hash(self.defined_in)

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)


def public_package(module: str) -> str:
    """The part of a module's path before the first name that begins with an underscore."""
    return module.partition("._")[0]


def _publish(value: Any, path: str) -> None:
    defined_in: str = value.__module__
    if defined_in == path:
        return
    if isinstance(value, type):
        line = vars(value).get("__firstlineno__")
        value.__module__ = PublicPath(path, defined_in)
        if line is not None:  # Python 3.13 drops it with a new `__module__`, and `inspect` needs it
            type.__setattr__(value, "__firstlineno__", line)
        return
    # `inspect` finds the source of a function by its code, and annotations by its globals. So a
    # plain string will do, which wrappers may copy and hash.
    if isinstance(value, FunctionType):
        for variant in typing.get_overloads(value):
            variant.__module__ = path
            overload(variant)  # `get_overloads` looks them up by where the function is
    value.__module__ = path


@overload
def public(value: str, /) -> Callable[[T], T]: ...
@overload
def public(value: T, /) -> T: ...
def public(value: Any, /) -> Any:
    """Marks a class or function as public: `repr`, `pickle` and tracebacks show its public path.

    `inspect.getsource` and `typing.get_type_hints` still find it where it is defined. Place it
    above all other decorators: what they return is what is public. The overloads of a function
    stay with it; only its implementation is decorated.

    **Arguments:**

    - `value`: what is public in the package that holds the private module: the part of the path
        before the first name that begins with an underscore. Or a string, the path of another
        module in which it is public: `@public("filtered_transforms.extend")`.

    **Returns:** The same object; for a string, a decorator.
    """
    if isinstance(value, str):

        def decorator(decorated: Any) -> Any:
            _publish(decorated, value)
            return decorated

        return decorator
    _publish(value, public_package(value.__module__))
    return value


_publish(public, "tree_surgery.extend")
