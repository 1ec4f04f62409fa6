"""`assert_max_traces`: an error where a function is traced too often, which says why it was."""

import threading
from collections.abc import Callable
from typing import Any, overload

from pytree_module import BoundMethod, Module, field
from runtime_checks._types import P, R
from tree_surgery.extend import public

from ._signature import CallSignature, nearest


class _Calls:
    """All calls so far. Equal to itself alone, so that JAX takes it as static data."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.signatures: list[CallSignature] = []

    def add(self, signature: CallSignature) -> tuple[int, list[str]]:
        """Which call it is, and how it differs from the nearest earlier one."""
        with self.lock:
            differences = nearest(signature, self.signatures)
            self.signatures.append(signature)
            return len(self.signatures), differences


class MaxTraces(Module):
    """A function that counts its calls; see `assert_max_traces`."""

    fn: Any
    max_traces: int | None = field(static=True)
    calls: _Calls = field(static=True)

    @property
    def __wrapped__(self) -> Any:
        return self.fn

    def __getattr__(self, name: str) -> Any:
        if name in ("__name__", "__qualname__"):
            return getattr(self.fn, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        number, differences = self.calls.add(CallSignature.of(self.fn, args, kwargs))
        if self.max_traces is not None and number > self.max_traces:
            raise RuntimeError(
                f"{_named(self.fn)} can only be traced {self.max_traces} times. However, it has "
                f"now been traced {number} times. {_why(differences)}"
            )
        return self.fn(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        bound: Any = BoundMethod
        return bound(self, instance)


def _named(fn: Any) -> str:
    name = getattr(fn, "__qualname__", None)
    return repr(fn) if name is None else f"`{name}`"


def _why(differences: list[str]) -> str:
    if not differences:
        return (
            "Its arguments are the same as before: it was wrapped in a jitted function anew, the "
            "caches were cleared, a JAX option has changed, or it is called outside of a jitted "
            "function."
        )
    lines = "\n".join(f"  {line}" for line in differences)
    return f"What differs from the nearest earlier call:\n{lines}"


@overload
def assert_max_traces(*, max_traces: int | None) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@overload
def assert_max_traces(fn: Callable[P, R], *, max_traces: int | None) -> Callable[P, R]: ...
@public
def assert_max_traces(fn: Any = ..., *, max_traces: int | None) -> Any:
    """`fn`, which raises when it is called more than `max_traces` times.

    Placed inside of a jitted function, that is when it is compiled too often.

    **Arguments:**

    - `fn`: a function, or any callable PyTree. Left out, a decorator is returned.
    - `max_traces`: how many are allowed; `None` for any number, for `get_num_traces` to count.

    **Returns:** the function that counts.

    **Raises:** `RuntimeError` from the call that is too many. It says which argument differs from
    the nearest earlier call: its path, and shape, dtype, weak type, sharding or static value.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit
    from runtime_checks.debug import assert_max_traces, get_num_traces

    @filter_jit
    @assert_max_traces(max_traces=1)
    def f(x, y):
        return x + y

    f(jnp.ones(3), jnp.ones(3))
    f(jnp.zeros(3), jnp.ones(3))
    assert get_num_traces(f) == 1
    ```
    """
    if max_traces is not None and max_traces < 0:
        raise ValueError(f"`max_traces` must be a count, or None; got {max_traces!r}.")

    def wrap(fn: Any) -> MaxTraces:
        return MaxTraces(fn, max_traces, _Calls())

    return wrap if fn is ... else wrap(fn)


@public
def get_num_traces(fn: Callable[..., Any]) -> int:
    """How many times a function in `assert_max_traces` has been traced so far.

    **Arguments:**

    - `fn`: what `assert_max_traces` has returned, or a function wrapped around that.

    **Raises:** `ValueError` if there is no `assert_max_traces` in it.

    ```python
    from runtime_checks.debug import assert_max_traces, get_num_traces

    assert get_num_traces(assert_max_traces(abs, max_traces=None)) == 0
    ```
    """
    found: Any = fn
    while not isinstance(found, MaxTraces):
        found = getattr(found, "__wrapped__", getattr(found, "func", None))
        if found is None:
            raise ValueError(f"{fn} does not appear to be wrapped with `debug.assert_max_traces`.")
    return len(found.calls.signatures)
