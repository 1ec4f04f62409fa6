"""Mistakes in the use of checks, result codes and debugging tools, which pyright and mypy find.

Checked, never run. The ignores say what is found: one that ignores nothing is an error.
"""

import jax.numpy as jnp
from jax import Array

from pytree_module import Module
from runtime_checks import Enumeration, branched_error_if, check, checks, error_if
from runtime_checks.debug import (
    assert_max_traces,
    explain_retrace,
    find_nan,
    log_retraces,
    trace_modules,
)


class RESULTS(Enumeration):
    success = "Everything went well."
    diverged = "The iteration has diverged."


class OTHER(Enumeration):
    fine = "Nothing is wrong."


class Solution(Module):
    result: RESULTS


def loss(x: Array, y: Array) -> Array:
    return x @ y


x = jnp.ones(3)

error_if(x, x > 0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
error_if(x, "positive", x > 0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
error_if(x, x > 0, "positive", on_error="stop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
error_if(x, x > 0, "positive").weight  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
branched_error_if(x, x > 0, 0, [1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
check("positive", x > 0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
checks("no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
RESULTS.succes  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
RESULTS.success.error_if(x, "positive")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
RESULTS.success.error_if(x, True).weight  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
RESULTS.where(True, "Everything went well.", RESULTS.diverged)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
RESULTS.where(True, RESULTS.success).shape  # type: ignore[attr-defined, call-arg]  # pyright: ignore[reportCallIssue]
RESULTS.where(RESULTS.success, RESULTS.diverged, True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
RESULTS.promote("success")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Solution("Everything went well.")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Solution(OTHER.fine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
assert_max_traces(loss)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
assert_max_traces(loss, max_traces=1)(x)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
explain_retrace(loss)(x, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
explain_retrace(loss, report=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
log_retraces(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
find_nan(loss, x)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
find_nan(loss, x, x).operation  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
trace_modules(loss)(x)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
trace_modules(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
