"""Tools for finding out why. Everything here is defined in `runtime_checks.debug`."""

from runtime_checks.debug import ModuleTrace as ModuleTrace
from runtime_checks.debug import NanReport as NanReport
from runtime_checks.debug import Statistics as Statistics
from runtime_checks.debug import announce_transform as announce_transform
from runtime_checks.debug import assert_dce as assert_dce
from runtime_checks.debug import assert_max_traces as assert_max_traces
from runtime_checks.debug import backward_nan as backward_nan
from runtime_checks.debug import breakpoint_if as breakpoint_if
from runtime_checks.debug import explain_retrace as explain_retrace
from runtime_checks.debug import find_nan as find_nan
from runtime_checks.debug import get_num_traces as get_num_traces
from runtime_checks.debug import inspect_dce as inspect_dce
from runtime_checks.debug import log_retraces as log_retraces
from runtime_checks.debug import name_scopes as name_scopes
from runtime_checks.debug import store_dce as store_dce
from runtime_checks.debug import trace_modules as trace_modules

__all__ = [
    "ModuleTrace",
    "NanReport",
    "Statistics",
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
