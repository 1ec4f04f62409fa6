"""What a failing check does: an argument, a context, or an environment variable says."""

import os
from contextlib import AbstractContextManager
from typing import Any, Literal

import jax

from tree_surgery.extend import public

Mode = Literal["raise", "breakpoint", "nan", "off"]
OnError = Literal["default", "raise", "breakpoint", "nan", "off"]

_MODES = ("raise", "breakpoint", "nan", "off")

# JAX has the value of such a context in the keys of all its caches, and for each thread its own.
_CONTEXT: Any = jax.make_user_context("default")


@public
def checks(on_error: OnError) -> AbstractContextManager[None]:
    """Inside of the `with` block, checks with `on_error="default"` do what is said here.

    It holds for this thread, for functions compiled before as well: JAX compiles them anew the
    first time, and finds either program again later. `"off"` leaves no trace in the program.

    **Arguments:**

    - `on_error`: `"raise"`, `"breakpoint"`, `"nan"`, `"off"`, as for `error_if`; or `"default"`:
        what the environment variable `EQX_ON_ERROR` says.

    **Raises:** `RuntimeError` if it is none of these.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit
    from runtime_checks import checks, error_if

    @filter_jit
    def root(x):
        return jnp.sqrt(error_if(x, x < 0, "root of a negative number"))

    with checks("off"):
        assert jnp.isnan(root(jnp.array(-1.0)))
    ```
    """
    if on_error != "default":
        _known(on_error, "`checks`")
    return _CONTEXT(on_error)


def mode_of(on_error: str) -> str:
    """The mode for a check that was given `on_error`.

    **Raises:** `RuntimeError` if it is unknown.
    """
    source = "`on_error`"
    if on_error == "default":
        on_error, source = _CONTEXT.value, "`checks`"
    if on_error == "default":
        on_error = os.environ.get("EQX_ON_ERROR", "raise")
        source = "the environment variable `EQX_ON_ERROR`"
    return _known(on_error, source)


def _known(on_error: str, source: str) -> str:
    if on_error not in _MODES:
        raise RuntimeError(
            f"Unrecognised value for `on_error`. Got {on_error!r} from {source}; expected "
            f"'default' or one of {', '.join(map(repr, _MODES))}."
        )
    return on_error
