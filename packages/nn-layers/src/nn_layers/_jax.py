"""The unstable JAX API that this distribution uses."""

from typing import Any


def mapped_name(x: Any) -> Any:
    """The `axis_name` of the innermost `jax.vmap` that `x` is a batch in, or `None`.

    JAX 0.7.2 to 0.12: no documented way to ask. Where the attributes do not exist, none is found.
    """
    while hasattr(x, "primal"):  # it is differentiated, too
        x = x.primal
    return getattr(getattr(getattr(x, "_trace", None), "axis_data", None), "name", None)
