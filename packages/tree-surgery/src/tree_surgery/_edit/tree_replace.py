"""`tree_replace`: a copy of one node with other values in some fields, static or not."""

import copy
import dataclasses as dc
import functools as ft
from collections.abc import Mapping
from typing import Any, TypeVar

from tree_surgery._errors import WhereError
from tree_surgery._public import public

_T = TypeVar("_T")


@public
def tree_replace(node: _T, /, **fields: object) -> _T:
    """The same node with other values in the fields that are named, and nothing else changed.

    Unlike `dataclasses.replace` this runs neither `__init__` nor `__post_init__` nor a converter,
    so it works for every signature of `__init__`, and leaves the other fields as they are. A class
    that has more to see to defines `__tree_replace__(self, fields)`, which takes a dictionary and
    returns the new instance; `tree_set` and `tree_apply` ask it as well, for static fields. So a
    module refuses here what its constructor refuses: a JAX array in a static field.

    **Arguments:**

    - `node`: an instance of a dataclass, frozen or not, of a module class, or a namedtuple.
    - `fields`: new values, by the names of their fields. Fields may be static or not.

    **Returns:**

    A new instance of the same class.

    **Raises:**

    `WhereError`, which names the fields there are, if there is no field of that name, or if `node`
    has no fields.

    ```python
    import dataclasses
    from tree_surgery import tree_replace

    @dataclasses.dataclass(frozen=True)
    class Dropout:
        rate: float
        inference: bool = False

    assert tree_replace(Dropout(0.5), inference=True) == Dropout(0.5, True)
    ```
    """
    kind: Any = type(node)
    if isinstance(node, tuple) and hasattr(kind, "_fields"):
        names = list(kind._fields)
    elif dc.is_dataclass(node) and not isinstance(node, type):
        names = [field.name for field in dc.fields(node)]
    else:
        raise WhereError(
            f"`tree_replace` needs an instance of a dataclass or a namedtuple, but got a "
            f"`{kind.__name__}`. For parts of other trees there is `tree_set`.",
            node,
        )
    for name in fields:
        if name not in names:
            raise WhereError(
                f"`{kind.__name__}` has no field `{name}`. Its fields are {', '.join(names)}.", node
            )
    if isinstance(node, tuple):
        return kind._replace(node, **fields)
    return with_fields(node, fields)


def with_fields(node: _T, fields: Mapping[str, object]) -> _T:
    """A copy of a dataclass with other values in some fields. The class may define how it is made.

    **Arguments:** `fields`: new values by names of fields, which are not checked.
    """
    replace = getattr(type(node), "__tree_replace__", None)
    if replace is not None:
        return replace(node, fields)
    new = copy.copy(node)
    for name in [
        name for name in getattr(new, "__dict__", ()) if _is_cached_property(type(new), name)
    ]:
        del new.__dict__[name]  # a cached property, computed from the old values
    for name, value in fields.items():
        object.__setattr__(new, name, value)  # past the `__setattr__` of a frozen class
    return new


def _is_cached_property(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), ft.cached_property)
