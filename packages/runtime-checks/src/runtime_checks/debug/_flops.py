"""The arithmetic of a traced program: operations in products of matrices and in convolutions."""

import math
from typing import Any

from filtered_transforms.extend import (
    Equation,
    InnerCond,
    InnerScan,
    InnerShardMap,
    InnerWhile,
    equations,
    inner_programs,
)


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
    inner = inner_programs(equation)
    if inner is None:
        return 0, True
    parts = [flops_of(jaxpr) for jaxpr in inner.jaxprs]
    if isinstance(inner, InnerCond):
        costs = {cost for cost, _ in parts}
        return max(costs), len(costs) == 1 and all(is_exact for _, is_exact in parts)
    total, exact = sum(cost for cost, _ in parts), all(is_exact for _, is_exact in parts)
    if isinstance(inner, InnerScan):
        return total * inner.length, exact
    if isinstance(inner, InnerShardMap):
        return total * inner.num_shards, exact
    return total, exact and not (isinstance(inner, InnerWhile) and total > 0)


def _of_dot(equation: Equation) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.input_types[0].shape
    return 2 * math.prod(equation.output_types[0].shape) * math.prod(shape[i] for i in contracted)


def _of_convolution(equation: Equation) -> int:
    numbers = equation.params["dimension_numbers"]
    kernel = equation.input_types[1].shape
    out_features = kernel[numbers.rhs_spec[0]]
    return 2 * math.prod(equation.output_types[0].shape) * math.prod(kernel) // out_features
