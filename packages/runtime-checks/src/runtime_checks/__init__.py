"""Run-time errors, result codes and debugging tools that work under jax.jit."""

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    from ._enumeration import Enumeration as Enumeration
    from ._enumeration import EnumerationItem as EnumerationItem
    from ._error_if import branched_error_if as branched_error_if
    from ._error_if import check as check
    from ._error_if import error_if as error_if
    from ._failure.exceptions import EquinoxRuntimeError as EquinoxRuntimeError
    from ._failure.exceptions import EquinoxTracetimeError as EquinoxTracetimeError
    from ._on_error import checks as checks
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "._enumeration": "Enumeration, EnumerationItem",
            "._error_if": "branched_error_if, check, error_if",
            "._failure.exceptions": "EquinoxRuntimeError, EquinoxTracetimeError",
            "._on_error": "checks",
        },
    )
