"""Run-time errors, result codes and debugging tools that work under jax.jit."""

from ._error_if import error_if as error_if
from ._errors import EquinoxRuntimeError as EquinoxRuntimeError
from ._errors import EquinoxTracetimeError as EquinoxTracetimeError

__version__ = "0.1.0"

__all__ = ["EquinoxRuntimeError", "EquinoxTracetimeError", "error_if"]

# What users see in a repr and in a pickle is the public path, wherever the code stands.
for _name in __all__:
    globals()[_name].__module__ = __name__
