"""What a type checker sees of transformed functions.

The classes of the wrappers carry no type parameters when the program runs. The protocols here say
what they are for the checker: callable with the parameters of the function, and bound as a method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    Self,
    TypeAlias,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    overload,
)

import jax
import numpy as np

if TYPE_CHECKING:
    from ._jax.jaxpr_classes import ClosedJaxpr

    PyTree: TypeAlias = Any
else:

    class PyTree:
        """Any PyTree. To a type checker it is `Any`, as `jaxtyping.PyTree` is."""


P = ParamSpec("P")
Q = ParamSpec("Q")
A = TypeVar("A")
Aux = TypeVar("Aux")
R = TypeVar("R")
T = TypeVar("T")
X = TypeVar("X")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")
T_contra = TypeVar("T_contra", contravariant=True)

Donate: TypeAlias = (
    Literal["all", "all-except-first", "warn", "warn-except-first", "none"] | tuple[str, ...]
)
"""Whose memory the result of a compiled function may reuse: a choice, or names of parameters."""

LoopKind: TypeAlias = Literal["lax", "bounded", "checkpointed"]
"""How a loop is differentiated: see `filter_while_loop`."""

Scalar: TypeAlias = bool | int | np.generic | np.ndarray[Any, Any] | jax.Array
"""A predicate or an index: a number, or an array without axes."""

Index: TypeAlias = Any
"""What may stand in the brackets of an array: JAX declares no type for it."""

AnyArray: TypeAlias = jax.Array | np.ndarray[Any, Any]
"""What `is_array` is true for. NumPy scalars, which it takes too, have less than arrays have."""

FilterSpec: TypeAlias = PyTree
"""A function of a leaf, a `bool`, or a tree of those that is a prefix of what is filtered."""

AxesSpec: TypeAlias = PyTree
"""An axis, `None`, a function from a leaf to those, or a tree of these that is a prefix."""

AxisOrPlace: TypeAlias = int | jax.sharding.PartitionSpec | jax.sharding.Sharding
"""What `if_array` gives for an array: an axis of it, or where it lies."""

SpecsSpec: TypeAlias = PyTree
"""A partition spec, `None`, a function from a leaf to those, or a prefix of such."""


PlacesSpec: TypeAlias = PyTree
"""Where arrays lie: a sharding, spec or device, `None`, a function, rules; or a prefix of these."""


class TakesFirst(Protocol[T_contra, P, R_co]):
    """A function by its first parameter and the others. Where mypy has to infer what `self` is, it
    does so from a protocol, and not from `Callable[Concatenate[...], ...]`."""

    def __call__(self, first: T_contra, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Wrapped(Protocol[P, R_co]):
    """A transformed function: a PyTree, a method where it stands in a class, and named as what it
    wraps."""

    __name__: str
    __qualname__: str

    @property
    def __wrapped__(self) -> Callable[..., Any]: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload  # a class method: its first argument is the owner
    def __get__(self: TakesFirst[T, Q, R], instance: object, owner: T, /) -> Wrapped[Q, R]: ...
    @overload  # read from the class
    def __get__(self, instance: None, owner: object = None, /) -> Self: ...
    @overload  # a method
    def __get__(
        self: TakesFirst[T, Q, R], instance: T, owner: object = None, /
    ) -> Wrapped[Q, R]: ...
    @overload  # a static method
    def __get__(self, instance: object, owner: object = None, /) -> Self: ...


class Decorator(Protocol):
    """A transformation that keeps the parameters and the result of a function."""

    def __call__(self, fun: Callable[P, R], /) -> Wrapped[P, R]: ...


class GradDecorator(Protocol):
    """`filter_grad(...)`: from a function to its gradient by the first argument."""

    def __call__(
        self, fun: Callable[Concatenate[A, P], Any], /
    ) -> Wrapped[Concatenate[A, P], A]: ...


class GradAuxDecorator(Protocol):
    """`filter_grad(has_aux=True)`."""

    def __call__(
        self, fun: Callable[Concatenate[A, P], tuple[Any, Aux]], /
    ) -> Wrapped[Concatenate[A, P], tuple[A, Aux]]: ...


class ValueAndGradDecorator(Protocol):
    """`filter_value_and_grad(...)`. The value is of the type of the result, or a pair of it and the
    auxiliary output, which is just what the function returns."""

    def __call__(
        self, fun: Callable[Concatenate[A, P], R], /
    ) -> Wrapped[Concatenate[A, P], tuple[R, A]]: ...


class PullbackOf(Protocol[R_co]):
    """From a cotangent of the result to a tuple with those of the arguments."""

    def __call__(self, cotangent: PyTree, /) -> R_co: ...


class Compiled(Protocol[P, R_co]):
    """A compiled program, called as the function is; all attributes of `jax.stages.Compiled`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def as_text(self) -> str | None: ...
    def cost_analysis(self) -> Any: ...
    def memory_analysis(self) -> Any: ...
    def __getattr__(self, name: str, /) -> Any: ...


class Lowered(Protocol[P, R_co]):
    """A lowered program; all attributes of `jax.stages.Lowered`."""

    @property
    def out_info(self) -> R_co: ...
    def compile(
        self, compiler_options: dict[str, str | bool] | None = None
    ) -> Compiled[P, R_co]: ...
    def as_text(self, dialect: str | None = None, *, debug_info: bool = False) -> str: ...
    def __getattr__(self, name: str, /) -> Any: ...


class Traced(Protocol[P, R_co]):
    """A traced program; all attributes of `jax.stages.Traced`."""

    @property
    def out_info(self) -> R_co: ...
    def lower(self, *, lowering_platforms: tuple[str, ...] | None = None) -> Lowered[P, R_co]: ...
    def __getattr__(self, name: str, /) -> Any: ...


class JitFunction(Wrapped[P, R_co], Protocol[P, R_co]):
    """What `filter_jit` makes of a function: as `Wrapped`, with the stages of compilation.

    `trace` and `lower` take the parameters of the function, or a `jax.ShapeDtypeStruct` for an
    array.
    """

    @overload
    def trace(self, *args: P.args, **kwargs: P.kwargs) -> Traced[P, R_co]: ...
    @overload
    def trace(self, *args: PyTree, **kwargs: PyTree) -> Traced[P, R_co]: ...
    @overload
    def lower(self, *args: P.args, **kwargs: P.kwargs) -> Lowered[P, R_co]: ...
    @overload
    def lower(self, *args: PyTree, **kwargs: PyTree) -> Lowered[P, R_co]: ...
    # As for `Wrapped`. That the result is narrower pyright does not see, for the types of `self`.
    @overload
    def __get__(self: TakesFirst[T, Q, R], instance: object, owner: T, /) -> JitFunction[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: object = None, /) -> Self: ...
    @overload
    def __get__(
        self: TakesFirst[T, Q, R], instance: T, owner: object = None, /
    ) -> JitFunction[Q, R]: ...
    @overload
    def __get__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, instance: object, owner: object = None, /
    ) -> Self: ...


class JitDecorator(Protocol):
    """`filter_jit(...)` without a function."""

    def __call__(self, fun: Callable[P, R], /) -> JitFunction[P, R]: ...


class JitKwargs(TypedDict, total=False):
    """The options of `jax.jit` that do not go by parameters."""

    inline: bool
    keep_unused: bool
    compiler_options: dict[str, str | bool] | None
    device: object
    backend: str | None


class PmapFunction(Wrapped[P, R_co], Protocol[P, R_co]):
    """What `filter_pmap` makes of a function: as `Wrapped`, with `lower`."""

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> Lowered[P, R_co]: ...


class PmapDecorator(Protocol):
    """`filter_pmap(...)` without a function."""

    def __call__(self, fun: Callable[P, R], /) -> PmapFunction[P, R]: ...


class MakeJaxpr(Protocol[P]):
    """What `filter_make_jaxpr` makes of a function."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> tuple[ClosedJaxpr, PyTree, PyTree]: ...
    @overload  # a `jax.ShapeDtypeStruct` for an array
    def __call__(self, *args: PyTree, **kwargs: PyTree) -> tuple[ClosedJaxpr, PyTree, PyTree]: ...


class Function(Protocol[P, R_co]):
    """A function that is a PyTree."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Converted(Function[P, R_co], Protocol[P, R_co]):
    """What `filter_closure_convert` makes of a function."""

    @property
    def in_struct(self) -> PyTree: ...
    @property
    def out_struct(self) -> R_co: ...
