"""Functions of loops and of the toolkit are exported as StableHLO, and compute the same."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import filtered_transforms as ft
from filtered_transforms.extend import (
    finalise_fn,
    noinline,
    nonbatchable,
    nondifferentiable,
    unvmap_max,
)

X = jnp.array([0.3, -1.2, 0.8])


def looped(kind: Any) -> Any:
    def run(x: Any) -> Any:
        def body(state: Any) -> Any:
            i, y, saved = state
            y = jnp.sin(y * 1.5)
            return i + 1, y, saved.at[i].set(y.sum())

        init = (0, x, jnp.zeros(8))
        _, y, saved = ft.while_loop(
            lambda s: s[0] < 4, body, init, kind=kind, max_steps=8, buffers=lambda s: s[2]
        )
        return y.sum() + (saved**2).sum()

    return run


SUBJECTS: dict[str, Any] = {
    "lax": looped("lax"),
    "gradient of a bounded loop": jax.grad(looped("bounded")),
    "gradient of a checkpointed loop": jax.grad(looped("checkpointed")),
    "toolkit": lambda x: nondifferentiable(nonbatchable(x)) + unvmap_max(x),
    "noinline": finalise_fn(lambda x: noinline(jnp.sin)(x) * 2),
    "filter_jit": lambda x: ft.filter_jit(lambda x, name: {"x": x * 2, "name": name})(x, "n")["x"],
    "filter_vmap": lambda x: ft.filter_vmap(lambda x: jnp.tanh(x))(x),
}


# https://github.com/patrick-kidger/equinox/issues/664
@pytest.mark.parametrize("name", SUBJECTS)
def test_exported(name: str):
    function = SUBJECTS[name]
    exported = export.export(jax.jit(lambda x: function(x)))(X)
    np.testing.assert_allclose(exported.call(X), function(X), rtol=1e-6)
    assert "stablehlo" in exported.mlir_module()
