"""Models as PyTrees, filtered transformations, PyTree surgery, layers and run-time errors for JAX.

Everything here is defined in one of the distributions `tree_surgery`, `pytree_module`,
`filtered_transforms`, `runtime_checks` and `nn_layers`, and is the same object there.
"""

# pyright: reportWildcardImportFromLibrary=false
# Checkers take the names from the parts as they are, so that none is listed here again.

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    from filtered_transforms import *
    from nn_layers import tree_inference as tree_inference
    from pytree_module import *
    from runtime_checks import *
    from tree_surgery import *

    from . import debug as debug
    from . import internal as internal
    from . import nn as nn
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "filtered_transforms": "*",
            "nn_layers": "tree_inference",
            "pytree_module": "*",
            "runtime_checks": "*",
            "tree_surgery": "*",
            ".debug": "",
            ".internal": "",
            ".nn": "",
        },
    )
    __all__ = sorted([*__all__, "debug", "internal", "nn"])
