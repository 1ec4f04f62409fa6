"""Compiler tricks of loops: what the compiled program is with each of them, and without it.

A test of a program with a trick fails when the trick stops working. A test without it fails when
the compiler no longer needs it: then the trick can go, once that holds on every JAX that is
supported. Seen to be needed on the CPU with JAX 0.7.2, 0.10.2 and 0.12.0.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import filtered_transforms as ft
from filtered_transforms._reverse_loops import (
    backward_pass,
    batching,
    bounded,
    buffer,
    buffer_read,
    forward_only,
    masked_write,
    materialise,
)

SIZE = 1237  # of the buffer, and of nothing else


def compiled(function: Callable[..., Any]) -> str:
    text = jax.jit(function).lower(jnp.ones(8)).compile().as_text()
    assert text is not None
    return text


def with_buffer(kind: Any, differentiated: bool) -> str:
    """A loop, compiled, of which each step reads a buffer, then writes to it what it made."""

    def run(x: Any) -> Any:
        def body(state: Any) -> Any:
            i, y, b = state
            y = jnp.sin(y) * x + 0.1 * b[jnp.maximum(i - 1, 0)]
            return i + 1, y, b.at[i].set(y.sum())

        out = ft.filter_while_loop(
            lambda s: s[0] < SIZE,
            body,
            (jnp.array(0), x, jnp.zeros(SIZE)),
            kind=kind,
            max_steps=SIZE,
            buffers=lambda s: s[2],
        )
        return out[1].sum() + (out[2] ** 2).sum()

    return compiled(jax.value_and_grad(run) if differentiated else run)


def copies(program: str) -> int:
    """How often the buffer is copied in steps of the loops of a program."""
    bodies = re.findall(r"body=%([\w.]+)", program)
    steps = [part for part in program.split("\n\n") if part.lstrip("%").startswith(tuple(bodies))]
    assert len(steps) == len(bodies) > 0
    return len([x for x in "".join(steps).splitlines() if f"[{SIZE}]{{0}} copy(" in x])


@pytest.mark.parametrize("kind", ["lax", "bounded", "checkpointed"])
def test_a_buffer_that_is_read_is_copied_in_no_step(kind: Any):
    assert copies(with_buffer(kind, differentiated=kind != "lax")) == 0


def as_it_is(x: Any, *_: Any) -> Any:
    return x


def by_a_constant(x: Any, _: Any) -> Any:
    return jax.lax.cond(jnp.array(False), jax.lax.optimization_barrier, as_it_is, x)


def alike(x: Any, never: Any) -> Any:
    return jax.lax.cond(never, as_it_is, as_it_is, x)


def barrier(x: Any, _: Any) -> Any:
    return jax.lax.optimization_barrier(x)


# The trick, what stands for it, and whether it takes a gradient to see the difference.
WITHOUT: dict[str, tuple[Any, str, Any, bool]] = {
    "what is read goes through a branch": (buffer_read, "materialise", as_it_is, False),
    "whose predicate is no constant": (materialise, "_branch", by_a_constant, False),
    "whose branches differ": (materialise, "_branch", alike, False),
    "so does what is read of a cotangent": (masked_write, "materialise", as_it_is, True),
    "times are written after what is written": (buffer, "_after", as_it_is, True),
}


@pytest.mark.parametrize("trick", WITHOUT)
def test_without_it_a_buffer_is_copied(trick: str, monkeypatch: pytest.MonkeyPatch):
    module, name, instead, differentiated = WITHOUT[trick]
    monkeypatch.setattr(module, name, instead)
    kind = "checkpointed" if differentiated else "lax"
    assert copies(with_buffer(kind, differentiated)) > 0, f"`{name}` can go: see above"


def test_without_the_branch_a_barrier_is_enough_since_0_12(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(materialise, "_branch", barrier)
    found = copies(with_buffer("lax", differentiated=False))
    if jax.__version_info__ < (0, 11):
        assert found > 0, "a barrier can stand for the branch: see `materialise`"
    elif jax.__version_info__ >= (0, 12):
        assert found == 0


def plain() -> str:
    """A loop that is not mapped, compiled."""
    return compiled(
        lambda x: ft.filter_while_loop(
            lambda s: s[0] < 9, lambda s: (s[0] + 1, jnp.sin(s[1])), (jnp.array(0), x), max_steps=9
        )
    )


def carries_predicate(program: str) -> bool:
    return "(pred[]" in next(line for line in program.splitlines() if " while(" in line)


def test_a_loop_that_is_not_mapped_neither_selects_nor_carries_its_condition():
    program = plain()
    assert "select(" not in program and not carries_predicate(program)


def test_without_it_a_loop_selects(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forward_only, "unless_alone", as_it_is)
    assert "select(" in plain(), "`unless_alone` can go"


def test_without_it_a_loop_carries_its_condition(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forward_only, "any_of_kept", lambda pred, _: batching.any_of(pred))
    assert carries_predicate(plain()), "`any_of_kept` can go"


WIDTH = 37  # of the matrix, and of nothing else


def multiplications_in_the_outer_product() -> int:
    """How many each element of the gradient by a matrix takes, in the way back through a loop."""

    def loss(x: Any, w: Any) -> Any:
        def step(state: Any) -> Any:
            i, y = state
            for _ in range(8):
                y = y * y * 0.9 + 0.1 * y - 0.01
            return i + 1, w @ y

        options: Any = {"kind": "checkpointed", "max_steps": 20, "checkpoints": 4}
        return ft.filter_while_loop(lambda s: s[0] < 20, step, (jnp.array(0), x), **options)[
            1
        ].sum()

    arguments = jnp.ones(WIDTH), jnp.ones((WIDTH, WIDTH))
    text = jax.jit(jax.grad(loss, (0, 1))).lower(*arguments).compile().as_text()
    assert text is not None
    parts = text.split("\n\n")
    kernels = [p for p in parts if "fused" in p.split("(")[0] and f"f32[{WIDTH},{WIDTH}]" in p]
    assert kernels
    return max(kernel.count(" multiply(") for kernel in kernels)


def test_a_step_is_not_written_into_an_outer_product():
    assert multiplications_in_the_outer_product() <= 4


def by_select(pred: Any, back: Any, cts: Any, ys: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(pred, a, b), back(cts, ys), cts)


def test_without_it_a_step_is_recomputed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backward_pass, "_if", by_select)
    assert multiplications_in_the_outer_product() > 16, "`_if` can go"


def second_derivative_through_a_scan() -> Any:
    def step(y: Any, _: Any) -> Any:
        options: Any = {"kind": "bounded", "max_steps": 4}
        return ft.filter_while_loop(lambda s: s < 3, lambda s: s * s * 1.5, y, **options), None

    return jax.grad(jax.grad(lambda y: jax.lax.scan(step, y, None, length=2)[0]))(1.2)


def test_a_bounded_loop_in_a_scan_has_a_second_derivative():
    # 1.2 becomes 2.16, then 6.9984, and stays: 1.5 * (1.5 * y**2) ** 2, twice differentiated.
    assert jnp.isclose(second_derivative_through_a_scan(), 40.5 * 1.2**2)


def with_one_rule(run: Any, jvp: Any) -> Any:
    ruled = jax.custom_jvp(run)
    ruled.defjvp(jvp, symbolic_zeros=True)
    return ruled


def test_without_it_a_bounded_loop_in_a_scan_has_no_second_derivative(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(bounded, "_lasting", with_one_rule)
    if jax.__version_info__ < (0, 11):
        with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
            second_derivative_through_a_scan()
    elif jax.__version_info__ >= (0, 12):
        second_derivative_through_a_scan()
