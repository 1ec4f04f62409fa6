"""`ω`: arithmetic on trees, leaf by leaf, written as on arrays."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import jax.tree_util as jtu

from filtered_transforms._types import Index, PyTree
from tree_surgery.extend import public

# In the body of the class its own name is that of a field.
Omega: TypeAlias = "ω"


class _Powered(type):
    """Lets `tree**ω` be `ω(tree)`: fewer brackets where formulas are long."""

    def __rpow__(cls, value: PyTree) -> ω:
        return cls(value)


@public("filtered_transforms.extend")
class ω(metaclass=_Powered):
    """Arithmetic on trees, leaf by leaf: `(ω(a) + ω(b)).ω` is `jax.tree.map(operator.add, a, b)`.

    **Arguments:**

    - `value`: any PyTree.
    - `is_leaf`: as for `jax.tree_util.tree_map`; for both operands the same, or functions with the
        same code, as two calls of one function make them.

    `ω(tree)` may be written `tree**ω`, and `.ω` gives the tree back. Operators take another `ω` of
    the same structure, or one number or array for all leaves: arithmetic, comparison, bits, `@` and
    indexing. `.call(f)` applies a function to each leaf, and `.at[i].set(x)` (also `add`,
    `multiply` ...) updates each.

    **Raises:** `ValueError` if two trees have different structures.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import ω

    y, slope = {"a": jnp.ones(2)}, {"a": jnp.arange(2.0)}
    new = (y**ω + 0.5 * slope**ω).ω
    assert new["a"].tolist() == [1.0, 1.5]
    ```
    """

    __slots__ = ("__weakref__", "is_leaf", "ω")
    __array_ufunc__ = None  # so that NumPy leaves `array * ω(tree)` to us

    ω: PyTree
    is_leaf: Callable[[Any], bool] | None

    def __init__(self, value: PyTree, is_leaf: Callable[[Any], bool] | None = None):
        self.ω = value
        self.is_leaf = is_leaf

    def __repr__(self) -> str:
        return f"ω({self.ω!r})"

    def call(self, fn: Callable[[Any], Any]) -> Omega:
        """`fn` of each leaf."""
        return ω(jtu.tree_map(fn, self.ω, is_leaf=self.is_leaf), self.is_leaf)

    def __getitem__(self, item: Index) -> Omega:
        return self.call(lambda leaf: leaf[item])

    @property
    def at(self) -> _At:
        """Updates of the elements of each leaf: `.at[index].set(value)` and so on."""
        return _At(self)

    def with_other(self, other: PyTree, function: Callable[[Any, Any], Any]) -> Omega:
        """`function` of each leaf and that of `other`, or and the one number that `other` is."""
        if not isinstance(other, ω):
            if not _is_one_for_all(other):
                raise RuntimeError(
                    f"the other operand must be an `ω`, or one number or array for all leaves; got "
                    f"a {type(other).__name__}: {other!r}. Write `ω(...)` around a tree."
                )
            return self.call(lambda leaf: function(leaf, other))
        if self.is_leaf != other.is_leaf and _code(self.is_leaf) != _code(other.is_leaf):
            raise ValueError("`is_leaf` must match: the two `ω` were made with different ones.")
        # Functions with the same code may have closed over different values: each its own tree.
        leaves, mine = jtu.tree_flatten(self.ω, is_leaf=self.is_leaf)
        others, theirs = jtu.tree_flatten(other.ω, is_leaf=other.is_leaf)
        if mine != theirs:
            raise ValueError(
                f"PyTree structures must match; an operator of `ω` got {mine} and {theirs}."
            )
        return ω(mine.unflatten(map(function, leaves, others)), self.is_leaf)

    # Comparisons are of leaves, so that an `ω` has the hash of an object.
    def __hash__(self) -> int:
        return object.__hash__(self)

    if TYPE_CHECKING:  # `_define` below
        # `object.__eq__` and `__ne__` return a `bool`; these are arithmetic like the others.
        def __add__(self, other: PyTree, /) -> Omega: ...
        def __radd__(self, other: PyTree, /) -> Omega: ...
        def __sub__(self, other: PyTree, /) -> Omega: ...
        def __rsub__(self, other: PyTree, /) -> Omega: ...
        def __mul__(self, other: PyTree, /) -> Omega: ...
        def __rmul__(self, other: PyTree, /) -> Omega: ...
        def __matmul__(self, other: PyTree, /) -> Omega: ...
        def __rmatmul__(self, other: PyTree, /) -> Omega: ...
        def __truediv__(self, other: PyTree, /) -> Omega: ...
        def __rtruediv__(self, other: PyTree, /) -> Omega: ...
        def __floordiv__(self, other: PyTree, /) -> Omega: ...
        def __rfloordiv__(self, other: PyTree, /) -> Omega: ...
        def __mod__(self, other: PyTree, /) -> Omega: ...
        def __rmod__(self, other: PyTree, /) -> Omega: ...
        def __pow__(self, other: PyTree, /) -> Omega: ...
        def __rpow__(self, other: PyTree, /) -> Omega: ...
        def __lshift__(self, other: PyTree, /) -> Omega: ...
        def __rlshift__(self, other: PyTree, /) -> Omega: ...
        def __rshift__(self, other: PyTree, /) -> Omega: ...
        def __rrshift__(self, other: PyTree, /) -> Omega: ...
        def __and__(self, other: PyTree, /) -> Omega: ...
        def __rand__(self, other: PyTree, /) -> Omega: ...
        def __or__(self, other: PyTree, /) -> Omega: ...
        def __ror__(self, other: PyTree, /) -> Omega: ...
        def __xor__(self, other: PyTree, /) -> Omega: ...
        def __rxor__(self, other: PyTree, /) -> Omega: ...
        def __lt__(self, other: PyTree, /) -> Omega: ...
        def __le__(self, other: PyTree, /) -> Omega: ...
        def __gt__(self, other: PyTree, /) -> Omega: ...
        def __ge__(self, other: PyTree, /) -> Omega: ...
        def __eq__(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, other: PyTree, /
        ) -> Omega: ...
        def __ne__(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, other: PyTree, /
        ) -> Omega: ...
        def __neg__(self) -> Omega: ...
        def __pos__(self) -> Omega: ...
        def __abs__(self) -> Omega: ...
        def __invert__(self) -> Omega: ...


def _code(is_leaf: Any) -> Any:
    """What a function does, whichever call has made it: equal for those that are written alike."""
    while isinstance(is_leaf, functools.partial):
        is_leaf = is_leaf.func
    code = getattr(is_leaf, "__code__", None)
    if code is None and is_leaf is not None:
        code = getattr(type(is_leaf).__call__, "__code__", None)
    return is_leaf if code is None else (code.co_code, code.co_names, code.co_consts)


def _is_one_for_all(x: Any) -> bool:
    return isinstance(x, (bool, int, float, complex)) or hasattr(x, "dtype")


def _define(name: str, function: Callable[..., Any], kind: str) -> None:
    def unary(self: ω) -> Omega:
        return self.call(function)

    def binary(self: ω, other: PyTree) -> Omega:
        return self.with_other(other, function)

    def reflected(self: ω, other: PyTree) -> Omega:
        return self.with_other(other, lambda x, y: function(y, x))

    method = {"unary": unary, "binary": binary, "reflected": reflected}[kind]
    dunder = f"__{'r' if kind == 'reflected' else ''}{name.strip('_')}__"
    method.__name__, method.__qualname__ = dunder, f"ω.{dunder}"
    setattr(ω, dunder, method)


for _name in ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift",
              "rshift", "and_", "or_", "xor"):  # fmt: skip
    _define(_name, getattr(operator, _name), "binary")
    _define(_name, getattr(operator, _name), "reflected")
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    _define(_name, getattr(operator, _name), "binary")
for _name in ("neg", "pos", "abs", "invert"):
    _define(_name, getattr(operator, _name), "unary")


class _At:
    """`omega.at`, and with an index `omega.at[item]`: its methods are those of `array.at[item]`."""

    __slots__ = ("item", "omega")

    omega: ω
    item: Any

    def __init__(self, omega: ω, item: Any = None):
        self.omega = omega
        self.item = item

    def __getitem__(self, item: Any) -> _At:
        return _At(self.omega, item)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        item = self.item

        def update(value: Any) -> ω:
            return self.omega.with_other(value, lambda leaf, x: getattr(leaf.at[item], name)(x))

        return update
