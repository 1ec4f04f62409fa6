"""The names of JAX that are not plainly public, in one place."""

from typing import Any

# `jax.core.Tracer` is documented, but type checkers do not see it from `import jax`. JAX >= 0.7.2.
from jax.core import Tracer as Tracer

# `jax.tree_util.PyTreeDef` is a variable to type checkers, and no type. JAX >= 0.7.2.
PyTreeDef = Any
