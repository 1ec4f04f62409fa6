"""Checks without callbacks: what they looked at is carried out of the program as a result.

`filter_jit` hands us the jaxpr of a program with checks. We evaluate it anew, so that the
predicates come out of all loops, branches and inner functions on the way, and the caller reads
them after the call. Where we do not know a way out, the check stays, and calls back.
"""

from typing import Any

import numpy as np

from filtered_transforms.extend import Carried, without_dead_code
from runtime_checks._check.unused_result import warn_of_unused
from runtime_checks._failure.packed_report import packed, whole

from .carrier import Carrier, has_check
from .rules import RULES, any_failed


def functionalise(jaxpr: Any, args: list[Any]) -> Carried:
    """A program without its checks, and what they have seen; see `extend.register_check`."""
    warn_of_unused(jaxpr)
    if has_check(jaxpr, lambda check: not check.kept):
        jaxpr = without_dead_code(jaxpr)  # a result of the program would keep it
    carrier = Carrier(RULES)
    results, seen = carrier.run(jaxpr, args)
    checks = [check for check, _ in carrier.checks(jaxpr)]
    report, unpack = packed(seen, any_failed(seen))

    def read(report: list[Any]) -> None:
        if not np.asarray(report[0]):  # a sixth of the cost of `bool(report[0])`
            return
        # The flag is the same in all processes of a job, so all of them come by here.
        for check, (predicate, *values) in zip(checks, unpack(map(whole, report)), strict=True):
            if np.any(predicate):
                raise check.fail(predicate, values)

    return Carried(results, report, read, carrier.leaves(jaxpr))
