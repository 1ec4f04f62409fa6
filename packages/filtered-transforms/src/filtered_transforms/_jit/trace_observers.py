"""Telling others when `filter_jit` traces a function, and for which arguments."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from tree_surgery.extend import public

Observer = Callable[[Any, tuple[Any, ...], dict[str, Any]], None]


class _Observers(threading.local):
    active: tuple[Observer, ...] = ()


_OBSERVERS = _Observers()


@public("filtered_transforms.extend")
@contextmanager
def observe_traces(observer: Observer) -> Generator[None]:
    """While the `with` block runs, `observer` is called for each function that `filter_jit` traces.

    In this thread alone, and before the function is: with the function and its arguments, traced
    arrays in them.

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
    """Tells the observers, if there are any, of a trace."""
    for observer in _OBSERVERS.active:
        observer(fun, args, kwargs)
