"""`trace_modules`: what the activations of each module look like, and their gradients."""

import dataclasses
import functools
import importlib
import math
import threading
from collections.abc import Callable
from typing import Any, Generic

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.typing import ArrayLike

from filtered_transforms import is_inexact_array
from runtime_checks._failure.pending_failures import wait_for_callbacks
from runtime_checks._types import P, R, T
from tree_surgery.extend import public

from ._instrument import instrument


@public
@dataclasses.dataclass
class Statistics:
    """Of all numbers seen in one place: shape and dtype of one call, and the rest over all calls.

    `zeros` and `nans` are shares between 0 and 1; `mean`, `std` and `largest` (the largest absolute
    value) leave out NaN.
    """

    shape: tuple[int, ...]
    dtype: str
    calls: int = 0
    count: int = 0
    mean: float = 0.0
    largest: float = 0.0
    zeros: float = 0.0
    nans: float = 0.0
    _squares: float = 0.0  # sum of squares of the distances from the mean
    _seen: int = 0  # without NaN

    @property
    def std(self) -> float:
        return math.sqrt(self._squares / self._seen) if self._seen else math.nan

    def add(self, count: int, summary: ArrayLike) -> None:
        """Takes in one more array, by what `_summarise` has made of it."""
        seen, mean, squares, largest, zeros, nans = map(float, np.asarray(summary))
        self.calls += 1
        total = self.count + count
        if total:
            self.zeros = (self.zeros * self.count + zeros) / total
            self.nans = (self.nans * self.count + nans) / total
        self.count = total
        if seen:
            both = self._seen + int(seen)
            apart = mean - self.mean
            self._squares += squares + apart * apart * self._seen * seen / both
            self.mean += apart * seen / both
            self._seen = both
        self.largest = max(self.largest, largest)


def _summarise(x: Any) -> Any:
    size = jnp.abs(x).astype(jnp.float32)
    values = jnp.real(x).astype(jnp.float32)
    nan = jnp.isnan(size)
    seen = jnp.sum(~nan).astype(jnp.float32)
    mean = jnp.where(seen > 0, jnp.sum(jnp.where(nan, 0, values)) / jnp.maximum(seen, 1), 0)
    squares = jnp.sum(jnp.where(nan, 0, (values - mean) ** 2))
    largest = jnp.max(jnp.where(nan, 0, size), initial=0.0)
    zeros = jnp.sum(size == 0).astype(jnp.float32)
    return jnp.stack([seen, mean, squares, largest, zeros, jnp.sum(nan).astype(jnp.float32)])


class _Recorder:
    """What a program has told of its arrays so far: activations and gradients, by place."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.activations: dict[str, Statistics] = {}
        self.gradients: dict[str, Statistics] = {}

    def add(self, kind: str, place: str, x: Any) -> None:
        """Makes the program tell about an array each time it computes it."""
        shape, dtype, size = tuple(x.shape), str(x.dtype), x.size

        def tell(summary: Any) -> None:
            with self.lock:
                table: dict[str, Statistics] = getattr(self, kind)
                table.setdefault(place, Statistics(shape, dtype)).add(size, summary)

        jax.debug.callback(tell, _summarise(x))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _watched(recorder: _Recorder, place: str, x: Any) -> Any:
    del recorder, place
    return x


def _forward(recorder: _Recorder, place: str, x: Any) -> Any:
    del recorder, place
    return x, None


def _backward(recorder: _Recorder, place: str, _: None, cotangent: Any) -> Any:
    recorder.add("gradients", place, cotangent)
    return (cotangent,)


_watched.defvjp(_forward, _backward)

_COLUMNS = ("shape", "dtype", "mean", "std", "largest", "zeros", "nans", "calls")


@public
class ModuleTrace(Generic[P, R]):
    """Statistics of the modules of a model, as they come in; see `trace_modules`."""

    def __init__(self, model: Callable[P, R]):
        self._recorder = _Recorder()
        self.model: Callable[P, R] = instrument(model, self._wrap)
        functools.update_wrapper(self, type(model).__call__ if callable(model) else trace_modules)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.model(*args, **kwargs)

    @property
    def activations(self) -> dict[str, Statistics]:
        """By the path of the module: what its calls have returned."""
        wait_for_callbacks()
        return dict(self._recorder.activations)

    @property
    def gradients(self) -> dict[str, Statistics]:
        """The same for the gradients of what the calls have returned."""
        wait_for_callbacks()
        return dict(self._recorder.gradients)

    def reset(self) -> None:
        """Forgets what has come in."""
        wait_for_callbacks()
        self._recorder.activations.clear()
        self._recorder.gradients.clear()

    def table(self) -> str:
        """All statistics, a line for each array."""
        rows = [("", "module", *_COLUMNS)]
        for kind, found in (("activation", self.activations), ("gradient", self.gradients)):
            rows += [(kind, path, *_cells(stats)) for path, stats in found.items()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(lines)

    __str__ = table

    def plot(self, axes: Any = None) -> Any:
        """A picture: for each module mean and standard deviation, and the largest absolute value.

        **Arguments:**

        - `axes`: two axes of matplotlib, for activations and gradients; else a figure is made.

        **Returns:** the axes. Needs matplotlib.
        """
        if axes is None:
            plt = importlib.import_module("matplotlib.pyplot")  # optional, and slow to import
            _, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
        for ax, title, found in zip(
            axes, ("activations", "gradients"), (self.activations, self.gradients), strict=True
        ):
            names = list(found)
            where = np.arange(len(names))
            stats = list(found.values())
            ax.errorbar([s.mean for s in stats], where, xerr=[s.std for s in stats], fmt="o")
            ax.plot([s.largest for s in stats], where, "x")
            ax.set_yticks(where, names)
            ax.invert_yaxis()
            ax.set_title(title)
            ax.legend(["largest absolute value", "mean and std"])
        return axes

    def _wrap(self, path: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def traced(module: Any, *args: Any, **kwargs: Any) -> Any:
            out = call(module, *args, **kwargs)
            pairs, treedef = jtu.tree_flatten_with_path(out)
            return treedef.unflatten([self._record(path, keys, leaf) for keys, leaf in pairs])

        return traced

    def _record(self, path: str, keys: Any, leaf: Any) -> Any:
        if not is_inexact_array(leaf):
            return leaf
        place = path + jtu.keystr(keys)
        self._recorder.add("activations", place, leaf)
        return _watched(self._recorder, place, leaf)


def _cells(stats: Statistics) -> tuple[str, ...]:
    shape = "x".join(map(str, stats.shape)) or "()"
    numbers = (stats.mean, stats.std, stats.largest, stats.zeros, stats.nans)
    return (shape, stats.dtype, *(f"{x:.3g}" for x in numbers), str(stats.calls))


@public
def trace_modules(model: Callable[P, R]) -> ModuleTrace[P, R]:
    """Statistics of what each module of a model returns, and of its gradients.

    Works eagerly and under `jit`, `vmap`, `scan` and `grad`: whatever is done with `trace.model`
    adds to the statistics when it runs.

    **Arguments:**

    - `model`: a module, or any tree of them.

    **Returns:** a `ModuleTrace`. Its `model` is a copy of the model, to be used in its place
    (called, the trace calls it). `activations` and `gradients` are dictionaries from the path of a
    module to `Statistics`: shape, dtype, mean, standard deviation, largest absolute value, shares
    of zeros and of NaN. `print(trace)` shows them as a table, `trace.plot()` as a picture.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_grad
    from pytree_module import Module
    from runtime_checks.debug import trace_modules

    class Scale(Module):
        factor: float

        def __call__(self, x):
            return self.factor * x

    class Twice(Module):
        first: Scale
        second: Scale

        def __call__(self, x):
            return self.second(self.first(x))

    trace = trace_modules(Twice(Scale(2.0), Scale(3.0)))
    filter_grad(lambda x: trace(x).sum())(jnp.ones(4))
    assert trace.activations["second"].mean == 6.0
    assert trace.gradients["first"].mean == 3.0
    ```
    """
    return ModuleTrace(model)


@public
def name_scopes(model: T) -> T:
    """A copy of a model in which the named scope of each call of a module is its path.

    Profiles, and the metadata of compiled programs, then read by path, `layers[0].linear`, in place
    of the names of the classes. It costs nothing when the program runs; but for that metadata it
    is the same program.

    **Arguments:**

    - `model`: a module, or any tree of them.

    **Returns:** the copy, with the same arrays.

    ```python
    import jax
    import jax.numpy as jnp
    from pytree_module import Module
    from runtime_checks.debug import name_scopes

    class Scale(Module):
        factor: float

        def __call__(self, x):
            return self.factor * x

    model = name_scopes({"scale": Scale(2.0)})
    text = jax.jit(lambda x: model["scale"](x)).lower(jnp.ones(3)).as_text(debug_info=True)
    assert "scale" in text
    ```
    """
    return instrument(model, lambda path, call: call)
