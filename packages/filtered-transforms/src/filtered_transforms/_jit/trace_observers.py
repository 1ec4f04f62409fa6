"""Callbacks for each function that `filter_jit` traces."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from tree_surgery.extend import public

Observer = Callable[[Any, tuple[Any, ...], dict[str, Any]], None]


class _Observers(threading.local):
    """The observers of each thread: those of its current `with` blocks.

    Written by `observe_traces`, which restores the previous ones; read when a program is traced.
    """

    active: tuple[Observer, ...] = ()


_OBSERVERS = _Observers()


@public("filtered_transforms.extend")
@contextmanager
def observe_traces(observer: Observer) -> Generator[None]:
    """While the `with` block runs, `observer` is called for each function that `filter_jit` traces.

    Only in this thread. The observer is called before the function, with the function and its
    arguments, which contain tracers.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit
    from filtered_transforms.extend import observe_traces

    def f(x):
        return x + 1

    seen = []
    with observe_traces(lambda fun, args, kwargs: seen.append(fun)):
        filter_jit(f)(jnp.ones(3))
        filter_jit(f)(jnp.zeros(3))
    assert seen == [f]
    ```
    """
    before = _OBSERVERS.active
    _OBSERVERS.active = (*before, observer)
    try:
        yield
    finally:
        _OBSERVERS.active = before


def observe(fun: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Calls the observers of a trace."""
    for observer in _OBSERVERS.active:
        observer(fun, args, kwargs)
