"""Errors at run time, result codes and tools for debugging, as typed programs use them.

Checked by pyright and mypy, never run.
"""

from typing import Any, assert_type

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from filtered_transforms import filter_jit
from pytree_module import Module
from runtime_checks import (
    Enumeration,
    EnumerationItem,
    EquinoxRuntimeError,
    branched_error_if,
    check,
    checks,
    error_if,
)
from runtime_checks.debug import (
    Collective,
    LargeArray,
    ModuleTrace,
    NanReport,
    Plan,
    Statistics,
    announce_transform,
    assert_dce,
    assert_max_traces,
    backward_nan,
    breakpoint_if,
    explain_retrace,
    find_nan,
    get_num_traces,
    inspect_dce,
    log_retraces,
    name_scopes,
    plan,
    store_dce,
    trace_modules,
)

x = jnp.ones(3)


class RESULTS(Enumeration):
    success = "Everything went well."
    diverged = "The iteration has diverged."

    @staticmethod
    def of(pred: Array) -> "RESULTS":
        return RESULTS.where(pred, RESULTS.success, RESULTS.diverged)


class MORE(RESULTS):  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    stalled = "The iteration makes no progress."


class Solution(Module):
    value: Array
    result: RESULTS = RESULTS.success


class Net(Module):
    weight: Array

    def __call__(self, x: Array) -> Array:
        return self.weight * x


def errors(pair: tuple[Array, dict[str, float]]) -> None:
    assert_type(error_if(x, x > 0, "positive"), Array)
    assert_type(error_if(pair, True, "never", on_error="nan"), tuple[Array, dict[str, float]])
    assert_type(branched_error_if(Net(x), np.array([True]), 0, ["a", "b"]), Net)
    check(x.sum() > 0, "The sum is {s}.", s=x.sum(), on_error="off")
    with checks("off"):
        assert_type(error_if(x, x > 0, "positive"), Array)
    try:
        errors(pair)
    except EquinoxRuntimeError as error:
        assert_type(str(error), str)


def members(pred: Array) -> RESULTS:
    result = RESULTS.where(pred, RESULTS.success, RESULTS.diverged)
    assert_type(result, RESULTS)
    assert_type(RESULTS.where(np.bool_(True), result, RESULTS.diverged), RESULTS)
    assert_type(RESULTS.of(pred), RESULTS)
    assert_type(result == RESULTS.success, bool | Array)
    assert_type(result != RESULTS.success, bool | Array)
    assert_type(result.error_if(x, pred), Array)
    assert_type(RESULTS.diverged.error_if((x, Net(x)), True), tuple[Array, Net])
    assert_type(result.is_traced(), bool)
    assert_type(next(iter(RESULTS)), RESULTS)
    assert_type(len(RESULTS), int)
    assert_type(result in RESULTS, bool)
    # mypy takes what stands in the brackets of an enumeration for the name of a member.
    text: str = RESULTS.__getitem__(result)
    assert_type(text, str)
    assert_type(RESULTS[result], str)  # type: ignore[misc, assert-type]
    item: EnumerationItem = result
    assert_type(item.error_if(x, pred), Array)
    return result


def any_enumeration(result: EnumerationItem, x: Array, pred: Array) -> Array:
    return result.error_if(x, pred)


def inherited(solution: Solution, pred: Array) -> MORE:
    assert_type(solution.result, RESULTS)
    promoted = MORE.promote(solution.result)
    assert_type(promoted, MORE)
    success = MORE.promote(RESULTS.success)
    assert_type(success == MORE.stalled, bool | Array)
    assert_type(MORE.where(pred, promoted, MORE.stalled), MORE)
    assert_type(any_enumeration(MORE.stalled, x, pred), Array)
    return MORE.stalled


@filter_jit
def step(net: Net, x: Array) -> tuple[Array, RESULTS]:
    y = net(x)
    return y, RESULTS.of(jnp.isfinite(y).all())


assert_type(step(Net(x), x), tuple[Array, RESULTS])
assert_type(Solution(*step(Net(x), x)), Solution)


@filter_jit
@assert_max_traces(max_traces=1)
def once(x: Array, scale: float = 1.0) -> Array:
    return scale * x


@explain_retrace
def explained(x: Array, *, times: int) -> list[Array]:
    return [x] * times


def debugging() -> None:
    assert_type(once(x, scale=2.0), Array)
    assert_type(assert_max_traces(step, max_traces=None)(Net(x), x), tuple[Array, RESULTS])
    assert_type(get_num_traces(once), int)
    assert_type(explained(x, times=2), list[Array])
    with log_retraces():
        once(x)
    with log_retraces(lambda text: None):
        once(x)
    assert_type(announce_transform(Net(x), name="net", intermediates=True), Net)
    assert_type(backward_nan(x, "x", terminate=False), Array)
    breakpoint_if(jnp.any(x < 0))
    assert_type(store_dce((x, x), name="pair"), tuple[Array, Array])
    inspect_dce("pair")
    assert_type(assert_dce({"a": x}, "is used", on_error="raise"), dict[str, Array])
    planned = plan(step, Net(x), x, devices=1)
    assert_type(planned, Plan)
    assert_type(planned.collectives, tuple[Collective, ...])
    assert_type(planned.largest[0], LargeArray)
    assert_type(planned.flops, int | None)
    report = find_nan(step, Net(x), x)
    assert_type(report, NanReport | None)
    if report is not None:
        assert_type(report.operation, str)
        assert_type(report.inputs, tuple[Any, ...])
    assert_type(name_scopes(Net(x)), Net)
    traced = trace_modules(Net(x))
    y = traced(x)
    assert_type(y, Array)
    assert_type(jax.vmap(traced)(x), Array)
    statistics = traced.activations
    assert_type(statistics, dict[str, Statistics])
    assert_type(traced.table(), str)


def keeps_parameters(net: Net) -> "ModuleTrace[[Array], Array]":
    return trace_modules(net)
