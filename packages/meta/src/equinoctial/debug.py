"""Tools for finding out why. Everything here is defined in `runtime_checks.debug`."""

# pyright: reportWildcardImportFromLibrary=false
# Checkers take the names from the parts as they are, so that none is listed here again.

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

if _typing.TYPE_CHECKING:
    from runtime_checks.debug import *
else:
    __all__, __getattr__, __dir__ = _lazy_names(__name__, {"runtime_checks.debug": "*"})
