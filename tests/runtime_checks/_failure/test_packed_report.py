"""What the checks of a program have seen comes out of it as it was, in kernels that are small."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from runtime_checks._failure.packed_report import packed, unfused


def codes(x: jax.Array) -> jax.Array:
    """Codes as a solver's: elementwise, of several reductions."""
    code = jnp.zeros((), jnp.int32)
    for i in range(8):
        total = jnp.sum(jnp.sin(x + i))
        code = jnp.where(jnp.isfinite(total) & (code == 0), code, jnp.int32(i))
    return code


def reductions_of_a_kernel(keep: Callable[[Any], Any]) -> int:
    """How many reductions the largest kernel has of a program that reports codes."""

    def program(x: jax.Array) -> Any:
        code = jax.vmap(codes)(x)
        failed = code != 0
        return jnp.any(failed), keep(failed), keep(code)

    compiled = jax.jit(program).lower(jnp.ones((16, 4))).compile().as_text()
    kernels = compiled.split("\n\n")
    return max(len(re.findall(r" = .* reduce\(", kernel)) for kernel in kernels)


def test_codes_are_not_fused_with_what_they_come_from():
    assert reductions_of_a_kernel(unfused) == 1


def test_without_the_trick_they_would_be():
    # If this fails with the oldest JAX that is supported, the trick has no use: delete `unfused`.
    assert reductions_of_a_kernel(lambda x: x) > 1


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int32, np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (5000,), (0,)])
def test_the_trick_changes_no_value(dtype: Any, shape: tuple[int, ...]):
    info = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else None
    values = np.array([0, 1] if info is None else [info.min, 0, 1, info.max])
    x = jnp.asarray(np.resize(values, shape).astype(dtype))
    out = jax.jit(unfused)(x)
    assert out.dtype == x.dtype and np.array_equal(out, x)


@pytest.mark.parametrize(
    "seen",
    [
        [[jnp.array(True)]],
        [[jnp.array(True)], [jnp.array(False), jnp.arange(3)], [jnp.array([True, False])]],
        [[jnp.array(False), jnp.array(2.0)], [jnp.array(True), jnp.array(False)]],
    ],
)
def test_what_is_packed_is_unpacked(seen: Any):
    report, unpack = packed(seen, jnp.array(True))
    assert bool(report[0])
    for found, expected in zip(jax.tree.leaves(unpack(report)), jax.tree.leaves(seen), strict=True):
        assert np.array_equal(found, expected)
