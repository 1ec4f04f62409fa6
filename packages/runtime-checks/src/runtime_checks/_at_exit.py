"""After a program of plain `jax.jit` has failed, JAX prints that failure once more at exit."""

import atexit
import functools

import jax
import jax.numpy as jnp


def forget_failures_at_exit() -> None:
    """Makes the interpreter end in silence, as the failure was reported where it happened."""
    _register()


@functools.cache
def _register() -> None:
    atexit.register(_forget)  # runs before JAX's own, which were registered earlier


def _forget() -> None:
    # JAX waits at exit for the last program with a callback on each device, and prints the failure
    # of one that failed. A later program that succeeds takes its place. (JAX 0.12 still does so.)
    try:
        jax.effects_barrier()
    except Exception:
        for device in jax.local_devices():
            with jax.default_device(device):
                jax.jit(_callback)(jnp.zeros(()))


def _callback(x: jax.Array) -> jax.Array:
    jax.debug.callback(_nothing, x)
    return x


def _nothing(x: object) -> None:
    pass
