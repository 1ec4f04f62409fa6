"""Tools for finding out why: why it was traced again, where the NaN came from, what is left out."""

from ._announce import announce_jaxpr_p as announce_jaxpr_p
from ._announce import announce_transform as announce_transform
from ._backward_nan import backward_nan as backward_nan
from ._breakpoint_if import breakpoint_if as breakpoint_if
from ._dce import assert_dce as assert_dce
from ._dce import inspect_dce as inspect_dce
from ._dce import store_dce as store_dce
from ._find_nan import NanReport as NanReport
from ._find_nan import find_nan as find_nan
from ._modules import ModuleTrace as ModuleTrace
from ._modules import Statistics as Statistics
from ._modules import name_scopes as name_scopes
from ._modules import trace_modules as trace_modules
from ._retrace import explain_retrace as explain_retrace
from ._retrace import log_retraces as log_retraces
from ._traces import assert_max_traces as assert_max_traces
from ._traces import get_num_traces as get_num_traces

__all__ = [
    "ModuleTrace",
    "NanReport",
    "Statistics",
    "announce_jaxpr_p",
    "announce_transform",
    "assert_dce",
    "assert_max_traces",
    "backward_nan",
    "breakpoint_if",
    "explain_retrace",
    "find_nan",
    "get_num_traces",
    "inspect_dce",
    "log_retraces",
    "name_scopes",
    "store_dce",
    "trace_modules",
]

for _name in __all__:
    if not _name.endswith("_p"):  # no primitive
        globals()[_name].__module__ = __name__
