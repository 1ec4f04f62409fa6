"""For authors of libraries: what extends the system.

The names are those that Equinox has in `equinox.internal`, as far as they exist here, and those of
`filtered_transforms.extend`, where they are documented, with the same promise of stability as the
rest.
"""

from filtered_transforms.extend import Carried as Carried
from filtered_transforms.extend import hashable_combine as hashable_combine
from filtered_transforms.extend import hashable_partition as hashable_partition
from filtered_transforms.extend import observe_traces as observe_traces
from filtered_transforms.extend import register_check as register_check
from pytree_module import AbstractClassVar as AbstractClassVar
from pytree_module import AbstractVar as AbstractVar
from pytree_module import Static as Static
from runtime_checks import Enumeration as Enumeration
from runtime_checks import branched_error_if as branched_error_if
from runtime_checks import error_if as error_if
from runtime_checks.debug import announce_jaxpr_p as announce_jaxpr_p
from runtime_checks.debug import announce_transform as announce_transform
from runtime_checks.debug import assert_dce as assert_dce
from runtime_checks.debug import backward_nan as debug_backward_nan
from runtime_checks.debug import breakpoint_if as breakpoint_if
from runtime_checks.debug import inspect_dce as inspect_dce
from runtime_checks.debug import store_dce as store_dce

__all__ = [
    "AbstractClassVar",
    "AbstractVar",
    "Carried",
    "Enumeration",
    "Static",
    "announce_jaxpr_p",
    "announce_transform",
    "assert_dce",
    "branched_error_if",
    "breakpoint_if",
    "debug_backward_nan",
    "error_if",
    "hashable_combine",
    "hashable_partition",
    "inspect_dce",
    "observe_traces",
    "register_check",
    "store_dce",
]
