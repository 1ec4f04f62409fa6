"""Failures of plain `jax.jit` do not outlive the test that causes them."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest


def succeed(x: jax.Array) -> jax.Array:
    jax.debug.callback(lambda x: None, x)
    return x


@pytest.fixture(autouse=True)
def nothing_is_pending() -> Iterator[None]:
    yield
    try:
        jax.effects_barrier()
    except Exception:  # JAX reports the last failure on each device again, until a success there
        for device in jax.local_devices():
            with jax.default_device(device):
                jax.jit(succeed)(jnp.zeros(()))
        jax.effects_barrier()
