"""`find_nan`: the first operation that makes a NaN or an infinity out of finite numbers."""

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from filtered_transforms import combine, is_array, partition
from filtered_transforms.extend import (
    Equation,
    InnerCall,
    InnerCond,
    InnerScan,
    InnerWhile,
    Interpreter,
    inner_programs,
    is_dropped,
    jaxpr_as_function,
)
from pytree_module.extend import is_library_file
from runtime_checks._types import P
from runtime_checks._user_frames import SourcePlace
from tree_surgery import tree_pformat
from tree_surgery.extend import public

from ._instrument import instrument


@public
@dataclasses.dataclass(frozen=True)
class NanReport:
    """Where a number that is not finite came from.

    - `operation`: the name of JAX's primitive.
    - `places`: the user's lines, innermost first.
    - `module`: the path of the innermost module whose call it is part of; of a module that is no
        argument, but closed over, the classes of the calls around it (`Model/Layer`); or `""`.
    - `loop`: for each loop around it, outermost first, the step.
    - `inputs`, `outputs`: what the operation took and made.
    """

    operation: str
    places: tuple[SourcePlace, ...]
    module: str
    loop: tuple[int, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]

    def __str__(self) -> str:
        made = "NaN" if any(_has(np.isnan, x) for x in self.outputs) else "an infinity"
        lines = [f"`{self.operation}` makes {made} out of finite numbers."]
        if self.module:
            lines.append(f"It is part of the module {self.module}.")
        if self.loop:
            lines.append(f"It is step {', '.join(map(str, self.loop))} of the loop around it.")
        lines += [place.listing() for place in reversed(self.places)]
        for name, values in (("input", self.inputs), ("output", self.outputs)):
            lines += [f"{name} {i}: {_summary(x)}" for i, x in enumerate(values)]
        return "\n".join(lines)


class _Found(Exception):
    """The way out of all loops and functions in which the operation stands."""

    def __init__(self, report: NanReport):
        self.report = report


@public
def find_nan(fn: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> NanReport | None:
    """The first operation that makes a NaN or an infinity out of finite numbers.

    The function is traced, and its operations are done one by one: through `jit`, `scan`,
    `while_loop`, `cond`, `vmap`, `grad` and custom rules. The body of a loop is looked into where
    what the loop returns is not finite.

    **Arguments:**

    - `fn`, `*args`, `**kwargs`: a function, or a module, and what to call it with.

    **Returns:** a `NanReport`, which prints with the user's line, the path of the module in which
    it happened, and the values; or `None` if there is no such operation. What is not finite among
    the arguments and constants is passed over.

    ```python
    import jax
    import jax.numpy as jnp
    from runtime_checks.debug import find_nan

    def f(x):
        return jnp.where(x > 0, jnp.sqrt(x), 0.0).sum()

    report = find_nan(jax.grad(f), jnp.array([1.0, 0.0]))
    assert report.operation == "div"
    ```
    """
    paths: list[str] = []
    name = getattr(fn, "__name__", "model")
    name = "model" if name == "__call__" else name
    whole = instrument({name: fn, "args": args, "kwargs": kwargs}, lambda path, call: call, paths)
    dynamic, static = partition(whole, is_array)
    leaves, treedef = jtu.tree_flatten(dynamic)

    def flat(leaves: list[Any]) -> list[Any]:
        tree = combine(treedef.unflatten(leaves), static)
        out = tree[name](*tree["args"], **tree["kwargs"])
        return [leaf for leaf in jtu.tree_leaves(out) if is_array(leaf)]

    jaxpr = jax.make_jaxpr(flat)(leaves)
    try:
        _Search(paths).run(jaxpr, leaves)
    except _Found as found:
        return found.report
    return None


class _Search(Interpreter):
    """Evaluates equation by equation; raises `_Found` at the operation sought."""

    def __init__(self, paths: list[str]):
        super().__init__({})
        self.paths = sorted(paths, key=len, reverse=True)
        self.within: list[Equation] = []  # those in whose jaxprs we are, the innermost last
        self.loop: tuple[int, ...] = ()  # the steps of the loops in which we are, likewise

    def rule_for(self, equation: Equation) -> Any:
        return _searched

    def outputs(self, equation: Equation, inputs: list[Any]) -> list[Any]:
        """Evaluate one equation. Raises `_Found` if its inputs are finite and an output is not."""
        inner = inner_programs(equation)
        if isinstance(inner, InnerCall):
            return self.run(inner.jaxpr, inputs)
        if isinstance(inner, InnerCond):
            index, *operands = inputs
            index = min(max(int(index), 0), len(inner.branches) - 1)
            return self.run(inner.branches[index], operands)
        outputs = equation.bind(inputs)
        kept = zip(outputs, equation.outputs, strict=True)
        made = [x for x, variable in kept if not is_dropped(variable)]
        if not all(map(_finite, made)) and all(map(_finite, inputs)):
            # In a loop it is an operation of the body, unless that is finite in each step.
            if isinstance(inner, InnerScan):
                self.scan(inner, inputs)
            elif isinstance(inner, InnerWhile):
                self.while_loop(inner, inputs)
            raise _Found(self.report(equation, inputs, made))
        return outputs

    def scan(self, inner: InnerScan, inputs: list[Any]) -> None:
        """Searches the first step of a scan that returns something not finite."""
        consts, carry, xs = inner.split(inputs)
        body = jax.jit(jaxpr_as_function(inner.jaxpr))
        steps = range(inner.length)
        for step in reversed(steps) if inner.reverse else steps:
            given = [*consts, *carry, *(x[step] for x in xs)]
            out = self.step(inner.jaxpr, body, given, step)
            carry = out[: inner.num_carry]

    def while_loop(self, inner: InnerWhile, inputs: list[Any]) -> None:
        """The same for a loop that ends by a condition."""
        cond_consts, body_consts, carry = inner.split(inputs)
        body = jax.jit(jaxpr_as_function(inner.body))
        cond = jax.jit(jaxpr_as_function(inner.cond))
        for step in itertools.count():
            if not np.any(cond(*cond_consts, *carry)[0]):
                break
            carry = self.step(inner.body, body, [*body_consts, *carry], step)

    def step(self, jaxpr: Any, compiled: Any, given: list[Any], number: int) -> list[Any]:
        """The results of one step of a loop, which is searched if one is not finite."""
        out = compiled(*given)
        if not all(map(_finite, out)):
            self.loop = (*self.loop, number)
            self.run(jaxpr, given)
            self.loop = self.loop[:-1]
        return out

    def report(self, equation: Equation, inputs: list[Any], made: list[Any]) -> NanReport:
        scope = "/".join(around.scope for around in self.within)
        module = next((path for path in self.paths if path in scope), "") or _named(scope)
        return NanReport(
            equation.name, tuple(self.places()[:3]), module, self.loop, tuple(inputs), tuple(made)
        )

    def places(self) -> list[SourcePlace]:
        """The user's lines, innermost first.

        JAX traces a jitted function once. What it does at a later call still has the lines of the
        first; of those only the innermost counts then, and the callers are those of the later call.
        """
        known: list[SourcePlace] = []
        for equation in self.within:
            lines = equation.lines
            own = [SourcePlace(*line) for line in lines if not is_library_file(line[0])]
            if own[len(own) - len(known) :] == known:
                known = own
            else:
                known = [place for place in own[:1] if place not in known] + known
        return known


def _searched(search: _Search, equation: Equation, inputs: list[Any]) -> list[Any]:
    search.within.append(equation)
    outputs = search.outputs(equation, inputs)
    search.within.pop()
    return outputs


def _named(scope: str) -> str:
    """The classes of the modules, where no path is known: each of their calls is a named scope."""
    names = (part.strip("()") for part in re.split(r"/|\w+\(", scope))  # vmap(jvp(Model))/Layer
    return "/".join(name for name in names if name)


def _has(test: Callable[[Any], Any], x: Any) -> bool:
    return _is_inexact(x) and bool(np.any(test(np.asarray(x))))


def _is_inexact(x: Any) -> bool:
    # Not `is_inexact_array`: a constant in a program is of a class of JAX's own, which knows its
    # dtype, but is no array.
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)


def _finite(x: Any) -> bool:
    if not _is_inexact(x):
        return True
    return bool(jnp.all(jnp.isfinite(x)))


def _summary(x: Any) -> str:
    if not _is_inexact(x):
        return tree_pformat(x)
    shown = tree_pformat(jax.ShapeDtypeStruct(np.shape(x), x.dtype), struct_as_array=True)
    values = np.asarray(x).astype(np.complex128 if jnp.iscomplexobj(x) else np.float64)
    if values.size <= 8:
        return f"{shown} {values.tolist()}"
    finite = values[np.isfinite(values)]
    span = f", finite ones from {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
    bad = np.argwhere(~np.isfinite(values))
    where = f", {len(bad)} not finite, the first at {tuple(map(int, bad[0]))}" if len(bad) else ""
    return shown + span + where
