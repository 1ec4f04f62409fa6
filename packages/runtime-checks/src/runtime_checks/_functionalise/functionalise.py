"""Checks without callbacks: their observed values become outputs of the program.

`filter_jit` passes the jaxpr of a program with checks. It is evaluated here so that the predicates
of all loops, branches and inner functions become outputs, which the caller reads after the call. A
check inside an unknown primitive stays in the program, and uses a callback.
"""

from typing import Any

import numpy as np

from filtered_transforms.extend import Carried, without_dead_code
from runtime_checks._check.unused_result import warn_of_unused
from runtime_checks._failure.packed_report import packed, whole

from .carrier import Carrier, has_check
from .rules import RULES, any_failed


def functionalise(jaxpr: Any, args: list[Any]) -> Carried:
    """A program without its checks, and a report of them; see `extend.register_check`."""
    warn_of_unused(jaxpr)
    if has_check(jaxpr, lambda check: not check.kept):
        jaxpr = without_dead_code(jaxpr)  # as an output, such a check would keep dead code alive
    carrier = Carrier(RULES)
    results, seen = carrier.run(jaxpr, args)
    checks = [check for check, _ in carrier.checks(jaxpr)]
    report, unpack = packed(seen, any_failed(seen))

    def read(report: list[Any]) -> None:
        if not np.asarray(report[0]):  # a sixth of the cost of `bool(report[0])`
            return
        # The flag is the same in all processes of a job, so all of them run this.
        for check, (predicate, *values) in zip(checks, unpack(map(whole, report)), strict=True):
            if np.any(predicate):
                raise check.fail(predicate, values)

    return Carried(results, report, read, carrier.leaves(jaxpr))
