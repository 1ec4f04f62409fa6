"""`scan` for libraries, of each kind, against that of JAX."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from filtered_transforms.extend import buffer_at_set

W = jnp.array([[0.9, -0.4], [0.3, 1.1]])
X = jnp.array([0.5, -1.2])


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), found, expected
    )


def scan_step(w: Any, carry: Any, x: Any) -> Any:
    i, y, saved = carry
    y = jnp.sin(w @ y) + x["x"]
    return (i + 1, y, buffer_at_set(saved, i, y[0])), {"twice": y * 2, "i": i, "name": x["name"]}


def scan_loss(scan: Callable[..., Any], w: Any, y: Any, saved: Any, xs: Any) -> Any:
    init, given = (jnp.array(0), y, saved), {"x": xs, "name": "tanh"}
    (_, y, saved), ys = scan(partial(scan_step, w), init, given)
    assert ys["name"] == "tanh" and ys["i"].shape == (xs.shape[0],)
    weights = jnp.arange(1.0, saved.size + 1)
    return (y**3).sum() + (saved * weights).sum() + (ys["twice"] ** 2).sum()


@pytest.mark.parametrize("kind", ["lax", "checkpointed", "all", 1, 3])
@pytest.mark.parametrize("length", [0, 1, 9])
def test_scan(kind: Any, length: int):
    # Against JAX's, in which the buffer is an array like others.
    options: dict[str, Any] = {"kind": "checkpointed", "checkpoints": kind}
    if kind in ("lax", "checkpointed"):
        options = {"kind": kind}
    ours = partial(ft.scan, buffers=lambda carry: carry[2], **options)
    args = W, X, jnp.ones(12), jnp.linspace(0.0, 1.0, 2 * length).reshape(length, 2)
    both = [
        jax.jit(jax.value_and_grad(partial(scan_loss, scan), (0, 1, 2, 3)))(*args)
        for scan in (ours, ft.filter_scan)
    ]
    close(*both)


def test_scan_over_no_arrays():
    carry, ys = ft.scan(lambda c, x: (c + 1, (x, c)), 0, None, 3, kind="checkpointed")
    assert carry == 3 and ys[0] is None and ys[1].tolist() == [0, 1, 2]
