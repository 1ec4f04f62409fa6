"""After a program of plain `jax.jit` has failed, JAX reports that failure once more.

Whoever waits for callbacks next is told: `jax.effects_barrier`, and JAX itself at exit, which
prints it. It was reported where it happened; so it is forgotten.
"""

import atexit
import functools

import jax
import jax.numpy as jnp

from .exceptions import EquinoxRuntimeError


def forget_failures_at_exit() -> None:
    """Makes the interpreter end in silence, as the failure was reported where it happened."""
    _register()


def wait_for_callbacks() -> None:
    """`jax.effects_barrier`, which checks that failed before do not interrupt."""
    try:
        jax.effects_barrier()
    except Exception as error:
        if not isinstance(error, EquinoxRuntimeError):
            raise
        _replace_failures()
        jax.effects_barrier()


@functools.cache
def _register() -> None:
    atexit.register(_forget)  # runs before JAX's own, which were registered earlier


def _forget() -> None:
    try:
        jax.effects_barrier()
    except Exception:
        _replace_failures()


def _replace_failures() -> None:
    # JAX waits for the last program with a callback on each device. A later program that succeeds
    # takes its place. (JAX 0.12 still does so.)
    for device in jax.local_devices():
        with jax.default_device(device):
            jax.jit(_callback)(jnp.zeros(()))


def _callback(x: jax.Array) -> jax.Array:
    jax.debug.callback(_nothing, x)
    return x


def _nothing(x: object) -> None:
    pass
