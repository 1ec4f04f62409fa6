"""Run-time errors, result codes and debugging tools that work under jax.jit."""

import sys as _sys
import typing as _typing

from filtered_transforms.extend import set_raise_if as _set_raise_if
from tree_surgery.extend import lazy_names as _lazy_names
from tree_surgery.extend import moved_names as _moved_names

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


def _raise_if(x: _typing.Any, pred: _typing.Any, msg: str) -> _typing.Any:
    """As `error_if`, which is imported when the first check is made."""
    return _typing.cast(_typing.Any, _sys.modules[__name__]).error_if(x, pred, msg)


# At once, whoever imports this and whatever he uses of it: the toolkit has no other way to know.
_set_raise_if(_raise_if)

# Of `_moved.py`, which is imported when an old pickle is read. Until 0.2.0.
_moved_names(__name__, "_frames")
