"""Everything that this distribution needs of JAX beyond its stable names. One function per need."""

from collections.abc import Iterator
from typing import Any

import jax.core
import jax.extend.core

Tracer: type = jax.core.Tracer
"""The class of traced values. `jax.core.Tracer`, all JAX versions."""


def is_concrete(x: Any) -> bool:
    """Whether `x` is a value rather than a traced one."""
    return not isinstance(x, Tracer)


def sub_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs in the parameters of an equation, closed ones opened. All JAX versions."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, jax.extend.core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, jax.extend.core.Jaxpr):
                yield item


def evaluate(jaxpr: Any, consts: list[Any], args: list[Any]) -> list[Any]:
    """The results of a jaxpr. `jax.extend.core.jaxpr_as_fun`, all JAX versions."""
    return jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(jaxpr, consts))(*args)
