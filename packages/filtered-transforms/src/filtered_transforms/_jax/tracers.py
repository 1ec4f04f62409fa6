"""What is traced: the class of tracers. Seen to work with JAX 0.7.2 to 0.12."""

from typing import Any

import jax.core

Tracer: type = jax.core.Tracer
"""The class of traced values. `jax.core.Tracer`, all JAX versions."""


def is_concrete(x: Any) -> bool:
    """Whether `x` is a value rather than a traced one."""
    return not isinstance(x, Tracer)
