"""`Enumeration`: result codes that a program computes, each with its text."""
# pyright: reportPrivateUsage=false
# (An item and its class are one thing in two parts.)

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from enum import EnumMeta
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import wadler_lindig as wl

from filtered_transforms import is_array
from pytree_module import Module, field
from tree_surgery.extend import public

from ._error_if import branched_error_if
from ._jax import Tracer
from ._types import Pred, T

# To a type checker an item is no `Module`: the metaclass of those is none of an `enum.Enum`.
if TYPE_CHECKING:
    _ItemBase = object
else:
    _ItemBase = Module


@public
class EnumerationItem(_ItemBase):
    """A member of an `Enumeration`, traced or not, mapped or not: an integer and its class."""

    _value: Any
    _enumeration: "_EnumerationMeta" = field(static=True)

    if TYPE_CHECKING:

        def __init__(self, _value: Any, _enumeration: Any) -> None: ...

    def __eq__(  # pyright: ignore[reportIncompatibleMethodOverride]  (traced, it is an array)
        self, other: object
    ) -> bool | jax.Array:
        if not isinstance(other, EnumerationItem) or other._enumeration is not self._enumeration:
            raise ValueError(
                f"Can only compare equality between enumerations of the same type: got "
                f"{self!r} and {other!r}. `promote` takes a member of a base to what inherits it."
            )
        with _at_once(self, other):
            return jnp.asarray(self._value == other._value)

    def __ne__(  # pyright: ignore[reportIncompatibleMethodOverride]  (as `__eq__`)
        self, other: object
    ) -> bool | jax.Array:
        equal = self == other
        with _at_once(self, other):
            return jnp.logical_not(equal)

    def __hash__(self) -> NoReturn:
        raise TypeError("unhashable type: 'EnumerationItem'")

    def __repr__(self) -> str:
        cls = self._enumeration
        return f"{cls.__module__}.{cls.__qualname__}<{cls[self]}>"

    def __pdoc__(self, **kwargs: Any) -> wl.AbstractDoc:
        del kwargs
        return wl.TextDoc(repr(self))

    def is_traced(self) -> bool:
        """Whether the value is known only when the program runs."""
        return isinstance(self._value, Tracer)

    def error_if(self, x: T, pred: Pred) -> T:
        """As `error_if(x, pred, msg)`, where `msg` is the text of this item."""
        return branched_error_if(x, pred, self._value, self._enumeration.texts())


def _at_once(*items: Any) -> AbstractContextManager[None]:
    """Evaluate eagerly if all items are concrete, even under a trace."""
    if any(item.is_traced() for item in items):
        return contextlib.nullcontext()
    return jax.ensure_compile_time_eval()


def _is_same(a: EnumerationItem, b: EnumerationItem) -> bool:
    """Whether two items are known to be equal, without a question to a device."""
    values = (a._value, b._value)
    return a is b or (
        all(isinstance(x, (np.ndarray, np.generic)) for x in values) and np.array_equal(*values)
    )


class _EnumerationMeta(type):
    """Makes the members from the texts in the body of a class, and answers for them as a table."""

    _names: dict[str, int]
    _texts: list[str]

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        members: dict[str, str] = {}
        for base in reversed([base for base in bases if isinstance(base, _EnumerationMeta)]):
            inherited = dict(zip(base._names, base._texts, strict=True))
            members = {**inherited, **members, **inherited}  # the first base counts
        own = {key: value for key, value in namespace.items() if _is_member(key, value)}
        for key, value in own.items():
            if not isinstance(value, str):
                raise TypeError(
                    f"The members of an enumeration are texts. `{name}.{key}` is a "
                    f"{type(value).__name__}: {value!r}."
                )
        members.update(own)
        rest = {key: value for key, value in namespace.items() if key not in own}
        cls = super().__new__(mcs, name, bases, rest)
        cls._names = {key: i for i, key in enumerate(members)}
        cls._texts = list(members.values())
        for key, i in cls._names.items():
            type.__setattr__(cls, key, EnumerationItem(np.array(i, np.int32), cls))
        return cls

    def __len__(cls) -> int:
        return len(cls._names)

    def __iter__(cls) -> Any:
        return (getattr(cls, name) for name in cls._names)

    def __contains__(cls, item: object) -> bool:
        return isinstance(item, EnumerationItem) and item._enumeration is cls

    def __instancecheck__(cls, instance: object) -> bool:
        return instance in cls

    def __getitem__(cls, item: Any) -> str:
        """The text of an item."""
        if not isinstance(item, EnumerationItem):
            raise ValueError(f"Index must be an enumeration item; got {item!r}.")
        if item._enumeration is not cls:
            raise ValueError(
                f"Enumeration item must be from this enumeration, {cls.__qualname__}; it is from "
                f"{item._enumeration.__qualname__}. `promote` takes members of a base."
            )
        if item.is_traced():
            return "traced"
        value = item._value
        if not is_array(value):
            return repr(value)  # what a transformation has put there: a shape, an axis, None
        if value.ndim == 0:
            return cls._texts[int(value)]
        return str(np.array(cls._texts)[np.asarray(value)])

    def texts(cls) -> list[str]:
        return list(cls._texts)

    def promote(cls, item: Any) -> Any:
        if not isinstance(item, EnumerationItem):
            raise ValueError(f"Can only promote enumerations; got {item!r}.")
        base = item._enumeration
        if base is cls or not issubclass(cls, base):
            raise ValueError(
                f"Can only promote from inherited enumerations: {cls.__qualname__} does not "
                f"inherit from {base.__qualname__}."
            )
        if len(base) == 0:
            return EnumerationItem(item._value, cls)
        table: Any = np.array([cls._names[name] for name in base._names], np.int32)
        if isinstance(item._value, (np.ndarray, np.generic)):
            return EnumerationItem(np.asarray(table[item._value]), cls)
        return EnumerationItem(jnp.asarray(table)[item._value], cls)

    def where(cls, pred: Any, a: Any, b: Any) -> Any:
        if a not in cls or b not in cls:
            name = f"{cls.__module__}.{cls.__qualname__}"
            raise ValueError(
                f"Arguments to {name}.where(...) must be members of {name}; got {a!r} and {b!r}."
            )
        if isinstance(pred, (bool, np.bool_)):
            return a if pred else b
        if not is_array(pred) or pred.shape != () or pred.dtype != bool:
            raise ValueError(
                f"`where` requires a scalar boolean predicate; got {pred!r}. Use `jax.vmap`."
            )
        if isinstance(pred, np.ndarray):
            return a if pred else b
        if _is_same(a, b):
            return a
        return EnumerationItem(jnp.where(pred, a._value, b._value), cls)


def _is_member(key: str, value: Any) -> bool:
    if key.startswith("_"):
        return False
    return not (callable(value) or hasattr(value, "__get__"))


if TYPE_CHECKING:
    # A checker knows one kind of class whose members are of the class itself: that of `enum`.
    class _Meta(EnumMeta):
        """`_EnumerationMeta` as checkers see it."""

        def __getitem__(cls, item: EnumerationItem) -> str: ...  # pyright: ignore[reportIncompatibleMethodOverride]
        def __iter__(cls: type[T]) -> Iterator[T]: ...
        def texts(cls) -> list[str]: ...
        def promote(cls: type[T], item: EnumerationItem) -> T: ...

        # Not `a: T`, which a member that is inherited is not to a checker.
        def where(cls: type[T], pred: Pred, a: EnumerationItem, b: EnumerationItem) -> T: ...

    class _Member(EnumerationItem):
        """A member as checkers see it: made of its text."""

        def __init__(self, text: str, /) -> None: ...

else:
    _Meta = _EnumerationMeta
    _Member = object


@public
class Enumeration(_Member, metaclass=_Meta):
    """Result codes that go through programs of JAX: each has a text, and can raise it.

    A member is an array of an integer, with its enumeration as static data: it goes through `jit`,
    `vmap`, `cond`, and into modules.

    - `result == RESULTS.success`: a boolean array; of two members that are known, a known one, also
      while a program is traced: Python's `if` takes it. Only members of one enumeration compare.
    - `RESULTS[result]`: the text. `len(RESULTS)`, `for item in RESULTS`, `item in RESULTS`.
    - `RESULTS.where(pred, a, b)`: `a` where the scalar boolean `pred` is true, else `b`. Where
      `pred` is known, or `a` and `b` are known and equal, it is one of the two itself.
    - `result.error_if(x, pred)`: `error_if(x, pred, text)` with the text of `result`.
    - An enumeration inherits the members of its bases, and may give them other texts.
      `MORE.promote(result)` is the member of `MORE` that it has inherited.
    - Names that begin with an underscore, and functions, are no members.

    ```python
    import jax.numpy as jnp
    from runtime_checks import Enumeration

    class RESULTS(Enumeration):
        success = "Everything went well."
        diverged = "The iteration has diverged."

    class MORE(RESULTS):
        stalled = "The iteration makes no progress."

    result = RESULTS.where(jnp.array(True), RESULTS.diverged, RESULTS.success)
    assert RESULTS[result] == "The iteration has diverged."
    assert MORE.promote(result) == MORE.diverged
    ```
    """
