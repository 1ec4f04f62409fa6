"""The unstable JAX API that this distribution uses."""

from collections.abc import Callable, Iterator
from typing import Any

import jax.core
import jax.extend.core


def mapped_name(x: Any) -> Any:
    """The `axis_name` of the innermost `jax.vmap` that `x` is a batch in, or `None`.

    JAX 0.7.2 to 0.12: no documented way to ask. Where the attributes do not exist, none is found.
    """
    while hasattr(x, "primal"):  # it is differentiated, too
        x = x.primal
    return getattr(getattr(getattr(x, "_trace", None), "axis_data", None), "name", None)


def sub_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs in the parameters of an equation, closed ones opened.

    `jaxprs_in_params`, in `jax.extend.core` since JAX 0.10, in `jax.core` before.
    """
    found = getattr(jax.extend.core, "jaxprs_in_params", None)
    return (found or jax.core.jaxprs_in_params)(params)


def evaluate(closed: Any) -> Callable[..., list[Any]]:
    """The function that a closed jaxpr is. All JAX versions."""
    return jax.extend.core.jaxpr_as_fun(closed)
