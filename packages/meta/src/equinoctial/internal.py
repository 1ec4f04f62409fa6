"""For authors of libraries: what extends the system.

The names are those that Equinox has in `equinox.internal`, as far as they exist here, and those of
`filtered_transforms.extend`, where they are documented, with the same promise of stability as the
rest.
"""

# pyright: reportWildcardImportFromLibrary=false
# Checkers take the names from the parts as they are, so that none is listed here again.

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

if _typing.TYPE_CHECKING:
    from filtered_transforms.extend import *
    from pytree_module import AbstractClassVar as AbstractClassVar
    from pytree_module import AbstractVar as AbstractVar
    from pytree_module import Static as Static
    from runtime_checks import Enumeration as Enumeration
    from runtime_checks import branched_error_if as branched_error_if
    from runtime_checks import error_if as error_if
    from runtime_checks.debug import announce_jaxpr_p as announce_jaxpr_p
    from runtime_checks.debug import announce_transform as announce_transform
    from runtime_checks.debug import assert_dce as assert_dce
    from runtime_checks.debug import backward_nan as _backward_nan
    from runtime_checks.debug import breakpoint_if as breakpoint_if
    from runtime_checks.debug import inspect_dce as inspect_dce
    from runtime_checks.debug import store_dce as store_dce
    from tree_surgery import TreeWLCustom as TreeWLCustom

    debug_backward_nan = _backward_nan
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "filtered_transforms.extend": "*",
            "pytree_module": "AbstractClassVar, AbstractVar, Static",
            "runtime_checks": "Enumeration, branched_error_if, error_if",
            "runtime_checks.debug": (
                "announce_jaxpr_p, announce_transform, assert_dce, "
                "backward_nan as debug_backward_nan, breakpoint_if, inspect_dce, store_dce"
            ),
            "tree_surgery": "TreeWLCustom",
        },
    )
