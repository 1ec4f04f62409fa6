"""Tools for finding out why: why it was traced again, where the NaN came from, what is left out."""

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

if _typing.TYPE_CHECKING:
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
    from ._plan import plan as plan
    from ._plan_report import Collective as Collective
    from ._plan_report import LargeArray as LargeArray
    from ._plan_report import Plan as Plan
    from ._retrace import explain_retrace as explain_retrace
    from ._retrace import log_retraces as log_retraces
    from ._traces import assert_max_traces as assert_max_traces
    from ._traces import get_num_traces as get_num_traces
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "._announce": "announce_jaxpr_p, announce_transform",
            "._backward_nan": "backward_nan",
            "._breakpoint_if": "breakpoint_if",
            "._dce": "assert_dce, inspect_dce, store_dce",
            "._find_nan": "NanReport, find_nan",
            "._modules": "ModuleTrace, Statistics, name_scopes, trace_modules",
            "._plan": "plan",
            "._plan_report": "Collective, LargeArray, Plan",
            "._retrace": "explain_retrace, log_retraces",
            "._traces": "assert_max_traces, get_num_traces",
        },
    )
