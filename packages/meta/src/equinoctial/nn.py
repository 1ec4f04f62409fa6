"""The layers: `nn_layers` under its name here."""

# pyright: reportWildcardImportFromLibrary=false
# Checkers take the names from the parts as they are, so that none is listed here again.

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

if _typing.TYPE_CHECKING:
    from nn_layers import *
else:
    __all__, __getattr__, __dir__ = _lazy_names(__name__, {"nn_layers": "*"})
