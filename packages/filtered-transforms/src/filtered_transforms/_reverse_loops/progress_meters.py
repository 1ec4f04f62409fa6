"""Progress meters: how far a loop is, shown while it runs."""

import abc
import itertools
import threading
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from filtered_transforms._primitives.unvmap import unvmap_max, unvmap_min
from filtered_transforms._types import PyTree
from pytree_module import Module
from tree_surgery.extend import public

from .show_once import show

_State = TypeVar("_State")


@public("filtered_transforms.extend")
class AbstractProgressMeter(Module, Generic[_State]):
    """Shows how far a loop is, while it runs.

    `state = meter.init()` before the loop, `state = meter.step(state, progress)` in each step, with
    the state in the carry, and `meter.close(state)` after it. `AbstractProgressMeter[S]` has a
    state of type `S`. Under `vmap` there is one meter for all examples, which shows the least
    progress.

    It works by calling Python from the compiled program, which some accelerators do not allow
    within loops; the loops of this library never do so themselves.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import AbstractProgressMeter, TextProgressMeter

    def count(n: int, meter: AbstractProgressMeter[jax.Array]) -> jax.Array:
        def body(i, state):
            return meter.step(state, (i + 1) / n)

        state = jax.lax.fori_loop(0, n, body, meter.init())
        meter.close(state)

    count(3, TextProgressMeter(minimum_increase=0.5))  # 0.00%, 66.67%, 100.00%
    jax.effects_barrier()
    ```
    """

    @abc.abstractmethod
    def init(self) -> _State:
        """Starts the meter at zero.

        **Returns:** its state, a tree of arrays whose structure and types do not change.
        """

    @abc.abstractmethod
    def step(self, state: _State, progress: ArrayLike) -> _State:
        """Shows progress, if it is time to.

        **Arguments:**

        - `state`: as `init` or the last `step` returned it.
        - `progress`: a real scalar, of 0 at the start and 1 at the end. It is not differentiated.

        **Returns:** the new state.
        """

    @abc.abstractmethod
    def close(self, state: _State) -> None:
        """Ends the meter.

        **Arguments:**

        - `state`: as `step` returned it.
        """


@public("filtered_transforms.extend")
class NoProgressMeter(AbstractProgressMeter[Any]):
    """Shows nothing.

    ```python
    from filtered_transforms.extend import NoProgressMeter

    assert NoProgressMeter().init() is None
    ```
    """

    def init(self) -> PyTree:
        """**Returns:** `None`."""
        return None

    def step(self, state: PyTree, progress: ArrayLike) -> PyTree:
        """**Returns:** `state`."""
        return state

    def close(self, state: PyTree) -> None:
        """Does nothing."""


@public("filtered_transforms.extend")
class TextProgressMeter(AbstractProgressMeter[Any]):
    """Prints progress, a line each time, as in `2.00%`.

    **Arguments:**

    - `minimum_increase`: it prints if progress has grown by more than this since the last print.

    ```python
    from filtered_transforms.extend import TextProgressMeter

    meter = TextProgressMeter(minimum_increase=0.5)
    state = meter.init()            # 0.00%
    state = meter.step(state, 0.4)
    state = meter.step(state, 0.6)  # 60.00%
    meter.close(state)              # 100.00%
    ```
    """

    minimum_increase: ArrayLike = 0.02

    def init(self) -> PyTree:
        """Prints 0.00%. **Returns:** what was printed last."""
        zero = jnp.zeros((), _float_dtype())
        return show(zero, True, _print_percentage, zero)

    def step(self, state: PyTree, progress: ArrayLike) -> PyTree:
        """As for all progress meters."""
        progress, last = _least(progress), _same(state)
        more = progress - last > jnp.asarray(self.minimum_increase, last.dtype)
        return show(jnp.where(more, progress, last), more, _print_percentage, progress)

    def close(self, state: PyTree) -> None:
        """Prints 100.00%, if that was not printed already."""
        last = _same(state)
        show(last, last < 1, _print_percentage, jnp.ones_like(last))


class _BarState(NamedTuple):
    """The number of a bar in `_Bars`, and how many steps it has had."""

    number: Any
    steps: Any


@public("filtered_transforms.extend")
class TqdmProgressMeter(AbstractProgressMeter[Any]):
    """Shows progress as a bar, by the library `tqdm`, which has to be installed.

    **Arguments:**

    - `refresh_steps`: the bar is redrawn once in so many steps.

    ```python
    from filtered_transforms.extend import TqdmProgressMeter

    meter = TqdmProgressMeter(refresh_steps=1)
    state = meter.init()
    state = meter.step(state, 0.5)
    meter.close(state)
    ```
    """

    refresh_steps: ArrayLike = 20

    def init(self) -> PyTree:
        """Draws an empty bar. **Returns:** which one, and how many steps there have been.

        **Raises:** `ImportError` without `tqdm`.
        """
        _tqdm()
        number = jnp.asarray(next(_BARS.numbers), jnp.int32)
        return _BarState(show(number, True, _BARS.open, number), jnp.zeros((), jnp.int32))

    def step(self, state: PyTree, progress: ArrayLike) -> PyTree:
        """As for all progress meters."""
        number, steps = _same(state.number), _same(state.steps)
        is_time = steps % jnp.asarray(self.refresh_steps, steps.dtype) == 0
        number = show(number, is_time, _BARS.show, number, _least(progress))
        return _BarState(number, steps + 1)

    def close(self, state: PyTree) -> None:
        """Fills the bar."""
        number = _same(state.number)
        show(number, True, _BARS.close, number)


def _float_dtype() -> Any:
    return jnp.zeros(()).dtype


def _least(progress: Any) -> Any:
    """The least progress of all examples."""
    progress = jax.lax.stop_gradient(jnp.asarray(progress))
    return unvmap_min(progress).astype(_float_dtype())


def _same(x: Any) -> Any:
    """`x`, which is the same for all examples, unbatched."""
    return unvmap_max(jax.lax.stop_gradient(x))


def _print_percentage(progress: Any) -> None:
    print(f"{100 * float(progress):.2f}%", flush=True)


def _tqdm() -> Any:
    try:
        import tqdm.auto  # here, because only those who want a bar need it
    except ImportError as error:
        raise ImportError(
            "A `TqdmProgressMeter` needs `tqdm`: `pip install tqdm`, or use a `TextProgressMeter`."
        ) from error
    return tqdm.auto.tqdm


class _Bars:
    """The bars on the screen, by number. A compiled program that runs again draws its bar again."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self._lock = threading.Lock()
        self._shown: dict[int, Any] = {}

    def open(self, number: Any) -> None:
        with self._lock:
            old = self._shown.pop(int(number), None)
            if old is not None:
                old.close()
            self._shown[int(number)] = _tqdm()(
                total=100.0,
                unit="%",
                bar_format="{percentage:.2f}%|{bar}| [{elapsed}<{remaining}, {rate_fmt}]",
            )

    def show(self, number: Any, progress: Any) -> None:
        with self._lock:
            bar = self._shown.get(int(number))
            if bar is not None:
                bar.update(100 * float(progress) - bar.n)

    def close(self, number: Any) -> None:
        with self._lock:
            bar = self._shown.pop(int(number), None)
            if bar is not None:
                bar.update(100.0 - bar.n)
                bar.close()


_BARS = _Bars()
