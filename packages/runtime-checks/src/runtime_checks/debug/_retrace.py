"""Why a jitted function was traced again: which leaf of its arguments differs, and how."""

import functools
import logging
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import jax

from filtered_transforms.extend import observe_traces
from pytree_module.extend import is_library_file
from runtime_checks._types import P, R
from runtime_checks._user_frames import places
from tree_surgery.extend import public

from ._signature import CallSignature, code_of, is_plain_jit, nearest

Report = Callable[[str], Any]


class _Traces(threading.local):
    """The names of functions that JAX has traced in this thread, while somebody wants to know.

    JAX tells the listener of `_listen`, which writes; a call of an `Explained` sets a list before
    it runs, reads it, and puts back what was there. Each thread has its own.
    """

    names: list[str] | None = None


_TRACES = _Traces()


@functools.cache
def _listen() -> None:
    def listener(event: str, duration_secs: float, **kwargs: Any) -> None:
        del duration_secs
        if _TRACES.names is not None and event == "/jax/core/compile/jaxpr_trace_duration":
            _TRACES.names.append(str(kwargs.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listener)


class Explained:
    """A jitted function that says why it is traced again; see `explain_retrace`."""

    def __init__(self, fn: Any, report: Report):
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.report = report
        self.name = getattr(fn, "__name__", type(fn).__name__)
        self.signatures: list[CallSignature] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _listen()
        # Before the call, which may donate its arguments.
        signature = CallSignature.of(self.fn, args, kwargs, is_plain_jit(self.fn))
        before, _TRACES.names = _TRACES.names, []
        try:
            return self.fn(*args, **kwargs)
        finally:
            traced, _TRACES.names = self.name in _TRACES.names, before
            if traced:
                self._explain(signature)

    def _explain(self, signature: CallSignature) -> None:
        earlier = list(self.signatures)
        self.signatures.append(signature)
        if earlier:
            self.report(_text(self.name, len(earlier) + 1, nearest(signature, earlier)))

    def __getattr__(self, name: str) -> Any:
        if name == "fn":
            raise AttributeError(name)
        return getattr(self.fn, name)


def _text(name: str, number: int, differences: list[str]) -> str:
    where = places(1)
    called = f", called at {where[0]}" if where else ""
    head = f"`{name}` is traced for the {_ordinal(number)} time{called}."
    if not differences:
        return (
            f"{head} Its arguments are those of an earlier call: a JAX option, a context or a mesh "
            f"has changed, or the caches were cleared."
        )
    lines = "\n".join(f"  {line}" for line in differences)
    return f"{head} It differs from the nearest earlier call in:\n{lines}"


def _ordinal(number: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
    return words[number - 1] if number <= len(words) else f"{number}th"


@public
def explain_retrace(fn: Callable[P, R], report: Report = print) -> Callable[P, R]:
    """`fn`, a jitted function, which says why when a call traces it again.

    **Arguments:**

    - `fn`: what `filter_jit` or `jax.jit` has returned.
    - `report`: called with each explanation.

    **Returns:** a function that does the same as `fn`. For each trace but the first it reports how
    the call differs from the nearest one that was traced before: for each leaf that differs its
    path, and shape, dtype, weak type, sharding or static value; of functions and partials made
    anew for each call, where to define them once.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit
    from runtime_checks.debug import explain_retrace

    said = []
    f = explain_retrace(filter_jit(lambda x, flag: x), report=said.append)
    f(jnp.ones(3), True)
    f(jnp.ones(4), True)
    assert "x: shape (3,) -> (4,)" in said[0]
    ```
    """
    if not callable(fn):
        raise TypeError(f"`explain_retrace` expects a jitted function; got {fn!r}.")
    return Explained(fn, report)


@public
@contextmanager
def log_retraces(report: Report = print) -> Generator[None]:
    """In the `with` block, each function that is traced again says why.

    In this thread alone. Functions of `filter_jit` as in `explain_retrace`; those of `jax.jit` in
    JAX's own words, by `jax.explain_cache_misses`, which is on for that long.

    **Arguments:**

    - `report`: called with each explanation.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit
    from runtime_checks.debug import log_retraces

    said = []
    with log_retraces(said.append):
        for n in (3, 4):
            filter_jit(lambda x: x + 1)(jnp.ones(n))
    assert "a new object each time" in said[0]
    ```
    """
    seen: dict[Any, list[tuple[Any, CallSignature]]] = {}

    def observer(fun: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        signature = CallSignature.of(fun, args, kwargs)
        earlier = seen.setdefault(code_of(fun) or type(fun), [])
        differences = nearest(signature, [old for _, old in earlier])
        code = code_of(fun)
        if code is not None and earlier and all(old is not fun for old, _ in earlier):
            differences = [
                f"the function: a new object each time. Define it once, outside of what is called "
                f"repeatedly: {code.co_filename}:{code.co_firstlineno}",
                *differences,
            ]
        earlier.append((fun, signature))
        if len(earlier) > 1:
            name = getattr(fun, "__name__", type(fun).__name__)
            report(_text(name, len(earlier), differences))

    handler = _Handler(report)
    logger = logging.getLogger("jax")
    logger.addHandler(handler)
    try:
        with jax.explain_cache_misses(True), observe_traces(observer):
            yield
    finally:
        logger.removeHandler(handler)


class _Handler(logging.Handler):
    """Passes on what JAX says of functions that are none of ours, but for their first traces.

    Only what it says in the thread that wants to know. A logger is the whole process's; so where
    nobody else listens, all that is not for us is written as if we did not listen either.
    """

    def __init__(self, report: Report):
        super().__init__()
        self.report = report
        self.of_thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # Of programs on disk JAX tells in the same way: none of a function that is traced again.
        if record.thread == self.of_thread and "PERSISTENT COMPILATION CACHE" in text:
            return
        if record.thread != self.of_thread or "CACHE MISS" not in text:
            heard = [*logging.getLogger("jax").handlers, *logging.getLogger().handlers]
            last = logging.lastResort
            if last is not None and heard == [self] and record.levelno >= last.level:
                last.handle(record)
            return
        defined = re.search(r"defined at (.*):\d+", text)
        ours = defined is not None and is_library_file(defined.group(1))
        first = "never seen function" in text and "same line" not in text
        if not ours and not first:
            self.report(text)
