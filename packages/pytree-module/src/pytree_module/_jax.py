"""The unstable JAX API that this distribution uses."""

from jax.core import Tracer as Tracer  # JAX 0.7.2 to 0.12: no documented way to tell a traced value
