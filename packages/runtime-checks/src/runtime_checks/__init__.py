"""Run-time errors, result codes and debugging tools that work under jax.jit."""

from filtered_transforms.extend import register_check as _register_check
from filtered_transforms.extend import set_raise_if as _set_raise_if

from ._check.primitive import check_p as _check_p
from ._enumeration import Enumeration as Enumeration
from ._enumeration import EnumerationItem as EnumerationItem
from ._error_if import branched_error_if as branched_error_if
from ._error_if import check as check
from ._error_if import error_if as error_if
from ._failure.exceptions import FAILURES as _FAILURES
from ._failure.exceptions import EquinoxRuntimeError as EquinoxRuntimeError
from ._failure.exceptions import EquinoxTracetimeError as EquinoxTracetimeError
from ._functionalise.functionalise import functionalise as _functionalise_checks
from ._on_error import checks as checks

__version__ = "0.1.0"

__all__ = [
    "Enumeration",
    "EnumerationItem",
    "EquinoxRuntimeError",
    "EquinoxTracetimeError",
    "branched_error_if",
    "check",
    "checks",
    "error_if",
]

_register_check(_check_p, _FAILURES.find, _functionalise_checks)
_set_raise_if(error_if)

# What users see in a repr and in a pickle is the public path, wherever the code stands.
for _name in __all__:
    globals()[_name].__module__ = __name__
