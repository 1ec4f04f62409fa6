"""Buffers of loops that are read: anywhere, at any time; against the same loop on plain arrays."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from filtered_transforms.extend import buffer_at_set

pytestmark = pytest.mark.heavy

KINDS = ["bounded", "checkpointed"]
SIZE = 6
OLD = jnp.linspace(0.3, 1.1, SIZE)
# Each place is written once, in an order that is neither up nor down.
ORDER = jnp.array([3, 0, 5, 1, 4, 2])
STOP = jnp.int32(4)

READS: dict[str, Any] = {
    "written before": lambda b, i: b[ORDER[jnp.maximum(i - 1, 0)]],
    "to be written now": lambda b, i: b[ORDER[i]],
    "to be written later": lambda b, i: b[ORDER[jnp.minimum(i + 1, SIZE - 1)]],
    "never written": lambda b, i: b[ORDER[SIZE - 1]],
    "static": lambda b, i: b[3] * b[-1],
    "slice": lambda b, i: (b[1:4] ** 2).sum(),
    "slice of arrays": lambda b, i: (b[np.int32(1) : STOP] ** 2).sum(),
    "indices": lambda b, i: jnp.prod(b[jnp.stack([i, SIZE - 1 - i])]),
    "mask": lambda b, i: b[np.arange(SIZE) % 2 == 0].sum(),
    "all": lambda b, i: jnp.sin(b[...]).sum(),
    "out of bounds": lambda b, i: b[i + 4],
    "far out of bounds": lambda b, i: b[jnp.int32(-(2**31)) + i],
    "array out of bounds": lambda b, i: b[jnp.array([-9, 9]) + i].sum(),
    "unsigned": lambda b, i: b[i.astype(jnp.uint8)],
    "small integers": lambda b, i: b[(i - 3).astype(jnp.int8)],
}


def loop(kind: Any, cond: Any, body: Any, init: Any, buffers: Any, **options: Any) -> Any:
    """`while_loop`; of kind "plain" one in Python, on arrays."""
    if kind == "plain":
        state = init
        while cond(state):
            state = body(state)
        return state
    options = {"max_steps": SIZE + 1, **options}
    return ft.while_loop(cond, body, init, kind=kind, buffers=buffers, **options)


def close(found: Any, expected: Any) -> None:
    same = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)
    jax.tree.map(same, found, expected)


def history(kind: Any, read: Any, n: Any, **options: Any) -> Any:
    """The sum of what a loop of `n` steps carries and writes, of `x` and of the array before."""

    def run(x: Any, old: Any) -> Any:
        def body(state: Any) -> Any:
            i, y, b = state
            y = jnp.sin(y * x) + read(b, i)
            b = b.at[ORDER[i]].set(y**2)
            return i + 1, y + 0.5 * read(b, i), b

        init = (jnp.array(0), x, old)
        _, y, b = loop(kind, lambda s: s[0] < n, body, init, lambda s: s[2], **options)
        return y + (b * jnp.arange(1.0, SIZE + 1)).sum()

    return run


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_step_reads_is_what_was_there(kind: Any, read: str):
    @jax.jit
    def found(n: Any) -> Any:
        return jax.value_and_grad(history(kind, READS[read], n), (0, 1))(0.7, OLD)

    for n in (0, 1, 4, SIZE):
        close(found(n), jax.value_and_grad(history("plain", READS[read], n), (0, 1))(0.7, OLD))


@pytest.mark.parametrize("options", [{"checkpoints": 1}, {"checkpoints": 2}, {"checkpoints": 9}])
def test_with_any_number_of_checkpoints(options: Any):
    read = READS["to be written later"]
    found = jax.jit(jax.grad(history("checkpointed", read, 5, **options), (0, 1)))(0.7, OLD)
    close(found, jax.grad(history("plain", read, 5), (0, 1))(0.7, OLD))


@pytest.mark.parametrize("kind", KINDS)
def test_each_example_reads_its_own(kind: Any):
    # Of other lengths, starting with other arrays.
    read = READS["to be written later"]
    x, n = jnp.array([0.7, 0.2, 0.4]), jnp.array([4, 0, 6])
    olds = jnp.stack([OLD, 2 * OLD, 3 * OLD])

    def gradient(x: Any, old: Any, n: Any) -> Any:
        return jax.grad(history(kind, read, n), (0, 1))(x, old)

    found = jax.jit(jax.vmap(gradient))(x, olds, n)
    for i in range(3):
        expected = jax.grad(history("plain", read, int(n[i])), (0, 1))(x[i], olds[i])
        close(jax.tree.map(lambda leaf, i=i: leaf[i], found), expected)


@pytest.mark.parametrize("name", ["indices", "to be written now", "written before", "nothing"])
def test_derivatives_of_derivatives(name: str):
    # Each step also reads after it has written.
    read = READS.get(name, lambda b, i: 0.0)
    run, plain = history("bounded", read, 4), history("plain", read, 4)
    args = 0.7, OLD
    close(jax.jit(jax.jvp, static_argnums=0)(run, args, args), jax.jvp(plain, args, args))
    close(jax.jit(jax.hessian(run, (0, 1)))(*args), jax.hessian(plain, (0, 1))(*args))
    twice = jax.jit(jax.jacrev(jax.grad(run, (0, 1)), (0, 1)))
    close(twice(*args), jax.hessian(plain, (0, 1))(*args))
    run = history("checkpointed", read, 4)
    pushed = jax.jit(lambda *args: jax.jvp(jax.grad(run, (0, 1)), args, args))
    close(pushed(*args), jax.jvp(jax.grad(plain, (0, 1)), args, args))


@pytest.mark.parametrize("inner", ["lax", *KINDS])
@pytest.mark.parametrize("outer", KINDS)
def test_nested_loops_read_what_either_wrote(outer: Any, inner: Any):
    # Both loops read before they write, after it, and what the other writes later.
    def run(outer: Any, inner: Any, x: Any, old: Any) -> Any:
        def outer_body(state: Any) -> Any:
            i, y, b = state
            y = y + b[0] * b[jnp.minimum(3 * i + 4, 8)]

            def body(state: Any) -> Any:
                j, y, b = state
                y = jnp.sin(y * x + b[3 * i + j] + b[8] * b[jnp.maximum(3 * i + j - 2, 0)])
                b = b.at[3 * i + j].set(y + b[7])
                return j + 1, y * b[3 * i + j], b

            init = (jnp.array(0), y, b)
            _, y, b = loop(inner, lambda s: s[0] < 2, body, init, lambda s: s[2], max_steps=3)
            b = b.at[3 * i + 2].set(y * b[3 * i])
            return i + 1, y + b[3 * i + 2], b

        init = (jnp.array(0), x, old)
        out = loop(outer, lambda s: s[0] < 3, outer_body, init, lambda s: s[2], max_steps=4)
        return out[1] + (out[2] * jnp.arange(1.0, 11.0)).sum()

    args = 0.6, jnp.linspace(0.5, 1.5, 10)
    expected = jax.grad(lambda *a: run("plain", "plain", *a), (0, 1))(*args)
    if inner == "lax":  # the loop within has no reverse mode
        if outer == "bounded":
            close(jax.jit(jax.jacfwd(lambda *a: run(outer, inner, *a), (0, 1)))(*args), expected)
        return
    close(jax.jit(jax.grad(lambda *a: run(outer, inner, *a), (0, 1)))(*args), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_writes_in_branches(kind: Any):
    # One branch writes twice, the other reads; what is not written is as it was before the loop.
    def run(kind: Any, x: Any, old: Any) -> Any:
        def body(state: Any) -> Any:
            i, y, b = state

            def even(b: Any) -> Any:
                b = buffer_at_set(b, i, y)
                return buffer_at_set(b, i + 1, y * b[i] + b[i + 1], pred=i < 4), b[5]

            def odd(b: Any) -> Any:
                return b, b[i] * y + b[i + 1]

            b, read = jax.lax.cond(i % 2 == 0, even, odd, b)
            return i + 1, jnp.cos(y * x + read), b

        init = (jnp.array(0), x, old)
        _, y, b = loop(kind, lambda s: s[0] < SIZE, body, init, lambda s: s[2])
        return y + (b * jnp.arange(1.0, SIZE + 2)).sum()

    args = 0.6, jnp.linspace(0.5, 1.5, SIZE + 1)
    expected = jax.value_and_grad(lambda *a: run("plain", *a), (0, 1))(*args)
    close(jax.jit(jax.value_and_grad(lambda *a: run(kind, *a), (0, 1)))(*args), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_condition_reads_what_was_written(kind: Any):
    def run(kind: Any, x: Any, old: Any) -> Any:
        def body(state: Any) -> Any:
            i, b = state
            return i + 1, b.at[i + 1].set(b[i] * x + b[i + 1])

        # Before a place is written, it is too small to go on.
        def condition(state: Any) -> Any:
            i, b = state
            return (b[i] < 5.0) & (b[jnp.minimum(i + 1, SIZE - 1)] < 2.0)

        return loop(kind, condition, body, (jnp.array(0), old), lambda s: s[1])[1].sum()

    expected = jax.value_and_grad(lambda *a: run("plain", *a), (0, 1))(1.9, OLD)
    close(jax.jit(jax.value_and_grad(lambda *a: run(kind, *a), (0, 1)))(1.9, OLD), expected)


def test_a_scan_reads_what_was_there():
    xs = jnp.linspace(0.2, 0.9, SIZE)

    def step(state: Any, x: Any) -> Any:
        i, y, b = state
        y = jnp.sin(y * x) + b[ORDER[i]] * b[0]
        b = b.at[ORDER[i]].set(y)
        return (i + 1, y, b), y * b[ORDER[i]] + b[5]

    def run(kind: Any, xs: Any, old: Any) -> Any:
        init = (jnp.array(0), 0.5, old)
        if kind == "plain":
            (_, y, b), ys = jax.lax.scan(step, init, xs)
        else:
            (_, y, b), ys = ft.scan(step, init, xs, buffers=lambda s: s[2], kind=kind)
        return y + (b * ys).sum()

    for kind in ("lax", "bounded", "checkpointed"):
        found = jax.jit(jax.grad(lambda *a, kind=kind: run(kind, *a), (0, 1)))(xs, OLD)
        close(found, jax.grad(lambda *a: run("plain", *a), (0, 1))(xs, OLD))


DTYPES = [jnp.float16, jnp.bfloat16, jnp.complex64, jnp.int8, jnp.bool, "key"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["lax", *KINDS])
def test_buffers_of_any_dtype_are_read(kind: Any, dtype: Any):
    old = jax.random.split(jax.random.key(0), SIZE) if dtype == "key" else jnp.ones(SIZE, dtype)

    def run(kind: Any, x: Any) -> Any:
        def body(state: Any) -> Any:
            i, y, b = state
            read = b[i]
            if dtype == "key":
                y = jnp.sin(y * x + jax.random.normal(read, ()))
                return i + 1, y, b.at[i + 1].set(jax.random.fold_in(read, 1))
            y = jnp.sin(y * x + jnp.real(read).astype(y.dtype))
            new = y > 0.5 if dtype is jnp.bool else (3 * y).astype(dtype)
            return i + 1, y, b.at[i + 1].set(new)

        return loop(kind, lambda s: s[0] < SIZE - 1, body, (jnp.array(0), x, old), lambda s: s[2])[
            1
        ]

    x = jnp.array([0.5, 0.8])
    transform = (lambda f: f) if kind == "lax" else jax.value_and_grad
    found = jax.jit(jax.vmap(transform(partial(run, kind))))(x)
    expected = [transform(partial(run, "plain"))(one) for one in x]
    close(found, jax.tree.map(lambda *xs: jnp.stack(xs), *expected))
