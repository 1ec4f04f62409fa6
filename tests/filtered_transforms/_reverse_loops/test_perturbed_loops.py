"""What a loop returns that does not depend on what is differentiated has no tangent."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from filtered_transforms.extend import nondifferentiable

pytestmark = pytest.mark.heavy

P = 1.5
FORWARD_REFUSED = (TypeError, r"forward-mode autodiff \(jvp\) to a custom_vjp")
REVERSE_REFUSED = (ValueError, r"Reverse-mode differentiation does not work")


def _given(enters: str, p: Any) -> dict[str, Any]:
    """What a loop is given, with `p` where it enters; beside it what is not perturbed."""
    one = jnp.array(P)
    given = {"x": one, "t": one, "b": jnp.zeros(4), "c": jnp.zeros(4), "by": one, "t_by": one}
    of = {"initial value": ("x", "t"), "buffer": ("b", "c"), "closed over or xs": ("by", "t_by")}
    place, still = of[enters]
    given[place] = given[place] + p - (P if place != "b" else 0)
    given[still] = jax.lax.stop_gradient(given[place])
    return given


def _while(kind: Any, x: Any, t: Any, b: Any, c: Any, by: Any, t_by: Any) -> Any:
    """The state, the buffers: what may be perturbed, and what is not."""

    def body(state: Any) -> Any:
        n, x, t, b, c = state
        return n + 1, x * by, t * t_by, b.at[n].set(x * by), c.at[n].set(t * t_by)

    _, x, t, b, c = ft.while_loop(
        lambda state: state[0] < 3,
        body,
        (0, x, t, b, c),
        kind=kind,
        max_steps=4,
        buffers=lambda state: state[3:],
    )
    return (x, b), (t, c)


def _scan(kind: Any, x: Any, t: Any, b: Any, c: Any, by: Any, t_by: Any) -> Any:
    """The same, and the collected outputs; `by` are the `xs`."""

    def body(state: Any, bys: Any) -> Any:
        n, x, t, b, c = state
        by, t_by = bys
        new = n + 1, x * by, t * t_by, b.at[n].set(x * by), c.at[n].set(t * t_by)
        return new, (x, t)

    xs = jnp.full(3, by), jnp.full(3, t_by)
    (_, x, t, b, c), (ys, t_ys) = ft.scan(
        body, (0, x, t, b, c), xs, kind=kind, buffers=lambda state: state[3:]
    )
    return (x, b, ys), (t, c, t_ys)


LOOPS: dict[str, tuple[Callable[..., Any], str]] = {
    "bounded while": (_while, "bounded"),
    "checkpointed while": (_while, "checkpointed"),
    "bounded scan": (_scan, "bounded"),
    "checkpointed scan": (_scan, "checkpointed"),
}
TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "grad": lambda f: jax.grad(f)(P),
    "grad of jit": lambda f: jax.grad(jax.jit(f))(P),
    "linearize": lambda f: jax.linearize(f, P)[1](1.0),
    "jvp": lambda f: jax.jvp(f, (P,), (1.0,))[1],
    "jvp of grad": lambda f: jax.jvp(jax.grad(f), (P,), (1.0,))[1],
    "grad of grad": lambda f: jax.grad(jax.grad(f))(P),
}
FORWARD = ("linearize", "jvp")
# As Equinox 0.13.8 has them, by while loop and scan; but the gradients of what a buffer held, where
# it counts the places that are written anew, too. First derivatives, and second.
EXPECTED = {
    "initial value": ((10.5, 0.0), (15.25, 0.0)),
    "buffer": ((1.0, 0.0), (1.0, 0.0)),
    "closed over or xs": ((26.25, 30.0), (32.25, 33.0)),
}


@pytest.mark.parametrize("enters", EXPECTED)
@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_not_perturbed_can_be_nondifferentiable(loop: str, enters: str):
    run, kind = LOOPS[loop]

    def total(p: Any) -> Any:
        moving, still = run(kind, **_given(enters, p))
        return sum(jnp.sum(x) for x in jax.tree.leaves((moving, nondifferentiable(still))))

    def refused(p: Any) -> Any:
        return sum(jnp.sum(x) for x in nondifferentiable(run(kind, **_given(enters, p))[0]))

    first, second = EXPECTED[enters][run is _scan]
    for name, transform in TRANSFORMS.items():
        error = None
        if kind == "checkpointed" and name in FORWARD:
            error = FORWARD_REFUSED
        if kind == "checkpointed" and name == "grad of grad" and second != 0:
            error = REVERSE_REFUSED  # in reverse once
        if error is not None:
            with pytest.raises(error[0], match=error[1]):
                transform(total)
            continue
        expected = second if name in ("jvp of grad", "grad of grad") else first
        np.testing.assert_allclose(transform(total), expected, rtol=1e-5, err_msg=name)
    with pytest.raises(RuntimeError, match="cannot be autodifferentiated"):
        jax.grad(refused)(P)


# The tangents that the inner `filter_jvp` has, of x, t, and what of the one was written, and of the
# other: as Equinox 0.13.8 has them.
INNER: dict[str, tuple[Callable[[Any, Any], Any], list[float | None]]] = {
    "x": (
        lambda run, p: ft.filter_jvp(lambda q: run(q, p), (jnp.array(P),), (jnp.array(1.0),)),
        [3.375, None, 4.75, None],
    ),
    "t": (
        lambda run, p: ft.filter_jvp(lambda q: run(p, q), (jnp.array(P),), (jnp.array(1.0),)),
        [None, 1.953125, None, 3.8125],
    ),
    "neither": (
        lambda run, p: ft.filter_jvp(lambda q: run(p, q), (jnp.array(P),), (None,)),
        [None] * 4,
    ),
    "a number is not": (
        lambda run, p: ft.filter_jvp(run, (jnp.array(P), P), (p, None)),
        [5.0625, None, 7.125, None],
    ),
}
AROUND: dict[str, Callable[[Any], Any]] = {
    "filter_jvp": lambda f: ft.filter_jvp(f, (jnp.array(P),), (jnp.array(1.0),))[0],
    "jvp": lambda f: jax.jvp(f, (jnp.array(P),), (jnp.array(1.0),))[0],
    "linearize": lambda f: jax.linearize(f, jnp.array(P))[0],
    "jit": lambda f: jax.jit(f)(jnp.array(P)),
    "vmap": lambda f: jax.tree.map(lambda x: x[0], jax.vmap(f)(jnp.array([P]))),
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("kind", ["lax", "bounded"])
def test_what_the_inner_derivative_does_not_perturb_has_no_tangent(
    kind: Any, inner: str, around: str
):
    def run(x: Any, t: Any) -> list[Any]:
        def body(state: Any) -> Any:
            n, x, t, b, c = state
            return n + 1, x * 1.5, t * 1.25, b.at[n].set(x), c.at[n].set(t)

        init = 0, x, t, jnp.zeros(4), jnp.zeros(4)
        _, x, t, b, c = ft.while_loop(
            lambda s: s[0] < 3, body, init, kind=kind, max_steps=4, buffers=lambda s: s[3:]
        )
        return [x, t, b.sum(), c.sum()]

    differentiate, expected = INNER[inner]
    found = AROUND[around](lambda p: differentiate(run, p)[1])
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if other is not None:
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_gradient_of_a_checkpointed_loop_that_forward_mode_does_not_perturb():
    def run(x: Any, t: Any) -> list[Any]:
        init = (0, x, t)
        out = ft.while_loop(
            lambda s: s[0] < 3,
            lambda s: (s[0] + 1, s[1] * 1.5, s[2]),
            init,
            kind="checkpointed",
            max_steps=4,
        )
        return list(out[1:])

    def total(p: Any) -> Any:
        out, tangents = INNER["neither"][0](run, p)
        assert tangents == [None, None]
        return out[0] + out[1]

    assert jax.grad(total)(P) == 1.5**3
