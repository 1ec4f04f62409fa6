"""The classes of JAX's programs: jaxprs, equations, primitives; and when they are imported.

Decided here: `jax.extend.core` is imported when a jaxpr is first read, since JAX 0.10 imports
Pallas with it. Seen to work with JAX 0.7.2 to 0.12.
"""

import functools
import importlib
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import jax
import jax.core

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr as ClosedJaxpr
    from jax.extend.core import Jaxpr as Jaxpr
    from jax.extend.core import JaxprEqn as JaxprEqn
    from jax.extend.core import Literal, Var
    from jax.extend.core import Primitive as Primitive

    AnyJaxpr: TypeAlias = ClosedJaxpr | Jaxpr
    Atom: TypeAlias = Var | Literal
else:
    Primitive = type(jax.lax.add_p)  # the class `jax.extend.core.Primitive`, all JAX versions

    class AnyJaxpr:
        """A `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`: with its constants or without."""

    class Atom:
        """What stands in an equation for a value: a variable, or a constant."""

    class JaxprEqn:
        """An equation as JAX writes it: a `jax.extend.core.JaxprEqn`."""


JaxprT = TypeVar("JaxprT", bound=AnyJaxpr)


@functools.cache
def core() -> Any:
    """`jax.extend.core`, imported when a jaxpr is first read: JAX 0.10 imports Pallas with it."""
    return importlib.import_module("jax.extend.core")


@functools.cache
def drop_var() -> Any:
    """The class of outputs that are dropped."""
    return getattr(core(), "DropVar", None) or jax.core.DropVar  # it has moved


def __getattr__(name: str) -> Any:
    """The classes of jaxprs, when they are first asked for."""
    if name not in ("ClosedJaxpr", "Jaxpr"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(core(), name)


def is_jaxpr(value: object) -> bool:
    """Whether a value is a jaxpr, closed or not."""
    return isinstance(value, (core().ClosedJaxpr, core().Jaxpr))


def is_closed(jaxpr: Any) -> bool:
    """Whether a jaxpr is one of those that may hold constants."""
    return isinstance(jaxpr, core().ClosedJaxpr)


def own(jaxpr: Any) -> Any:
    """A jaxpr, closed or not, whose inputs are its arguments: `opened` may put constants first."""
    return getattr(jaxpr, "jaxpr", jaxpr)
