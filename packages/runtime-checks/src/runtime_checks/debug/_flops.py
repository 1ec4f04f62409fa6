"""The arithmetic of a traced program: operations in products of matrices and in convolutions."""

import math
from typing import Any

from filtered_transforms.extend import (
    Equation,
    InnerCond,
    InnerPrograms,
    InnerScan,
    InnerShardMap,
    InnerWhile,
    equations,
    inner_programs,
)
from runtime_checks._jax import contracted_sizes, out_features


def flops_of(jaxpr: Any) -> tuple[int, bool]:
    """Floating-point operations of one call, on all devices together; and whether that is exact.

    A multiplication and an addition are two. A loop of unknown length counts as one step, and of
    branches the longest counts; then it is not exact.
    """
    total, exact = 0, True
    for equation in equations(jaxpr):
        found, is_exact = _of_equation(equation)
        total += found
        exact = exact and is_exact
    return total, exact


def _of_equation(equation: Equation) -> tuple[int, bool]:
    if equation.name == "dot_general":
        return _of_dot(equation), True
    if equation.name == "conv_general_dilated":
        return _of_convolution(equation), True
    if equation.name.startswith("ragged_dot"):
        return _of_ragged_dot(equation)
    inner = inner_programs(equation)
    if inner is None:  # a primitive of which nobody knows what it does with its jaxprs
        return 0, not equation.jaxprs
    return _of_inner(inner)


def _of_inner(inner: InnerPrograms) -> tuple[int, bool]:
    costs, exact = zip(*map(flops_of, inner.jaxprs), strict=True)
    if isinstance(inner, InnerCond):
        return max(costs), all(exact) and len(set(costs)) == 1
    times, is_known = 1, True
    if isinstance(inner, InnerScan):
        times = inner.length
    elif isinstance(inner, InnerShardMap):
        times = inner.num_shards
    elif isinstance(inner, InnerWhile):
        is_known = sum(costs) == 0
    return sum(costs) * times, all(exact) and is_known


def _of_dot(equation: Equation) -> int:
    return 2 * math.prod(equation.output_types[0].shape) * math.prod(contracted_sizes(equation))


def _of_convolution(equation: Equation) -> int:
    kernel = math.prod(equation.input_types[1].shape) // out_features(equation)
    return 2 * math.prod(equation.output_types[0].shape) * kernel


def _of_ragged_dot(equation: Equation) -> tuple[int, bool]:
    """Each row of the first operand is multiplied with the matrix of its group."""
    rows, matrices = (type_.shape for type_ in equation.input_types[:2])
    result = equation.output_types[0].shape
    return 2 * math.prod(result) * rows[-1], (len(rows), len(matrices), len(result)) == (2, 3, 2)
