"""`find_nan`: the first operation that makes a NaN or an infinity out of finite numbers."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from filtered_transforms import combine, is_array, partition
from pytree_module.extend import is_library_file
from runtime_checks import _jax
from runtime_checks._types import P
from runtime_checks._user_frames import Place
from tree_surgery import tree_pformat
from tree_surgery.extend import public

from ._instrument import instrument

_CALLS = frozenset(
    {
        "pjit",
        "jit",
        "closed_call",
        "core_call",
        "custom_jvp_call",
        "custom_vjp_call",
        "custom_vjp_call_jaxpr",
        "checkpoint",
        "remat2",
    }
)


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
    places: tuple[Place, ...]
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
    # The way out of all loops and functions in which the operation stands.
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
    opened, consts = _jax.opened(jaxpr)
    try:
        _Search(paths).run(opened, consts, leaves, ())
    except _Found as found:
        return found.report
    return None


class _Search:
    def __init__(self, paths: list[str]):
        self.paths = sorted(paths, key=len, reverse=True)
        self.within: list[Any] = []  # the equations in whose jaxprs we are, the innermost last

    def run(
        self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], loop: tuple[int, ...]
    ) -> list[Any]:
        """The results of a jaxpr; raises `_Found` at the operation sought."""
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Any:
            return atom.val if _jax.is_literal(atom) else values[atom]

        for eqn in jaxpr.eqns:
            inputs = [read(v) for v in eqn.invars]
            self.within.append(eqn)
            outputs = self.equation(jaxpr, eqn, inputs, loop)
            self.within.pop()
            values.update(zip(eqn.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def equation(self, jaxpr: Any, eqn: Any, inputs: list[Any], loop: tuple[int, ...]) -> list[Any]:
        inner = list(_jax.sub_jaxprs(eqn.params))
        if eqn.primitive.name in _CALLS and inner:
            key = next(k for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params)
            opened, consts = _jax.opened(eqn.params[key])
            return self.run(opened, consts, inputs, loop)
        if eqn.primitive.name == "cond":
            branches = eqn.params["branches"]
            index = min(max(int(inputs[0]), 0), len(branches) - 1)
            opened, consts = _jax.opened(branches[index])
            return self.run(opened, consts, inputs[1:], loop)
        outvars = [v for v in eqn.outvars if type(v).__name__ != "DropVar"]
        made = self.evaluate(jaxpr, eqn, inputs, outvars)
        if not all(map(_finite, made)) and all(map(_finite, inputs)):
            if eqn.primitive.name == "scan":
                self.scan(eqn, inputs, loop)
            elif eqn.primitive.name == "while":
                self.loop(eqn, inputs, loop)
            self.found(eqn, inputs, made, loop)
        made_by = dict(zip(outvars, made, strict=True))
        return [made_by.get(v) for v in eqn.outvars]

    def evaluate(self, jaxpr: Any, eqn: Any, inputs: list[Any], outvars: list[Any]) -> list[Any]:
        atoms = [(v, x) for v, x in zip(eqn.invars, inputs, strict=True) if not _jax.is_literal(v)]
        known = dict(atoms)
        part = _jax.excerpt(jaxpr, [eqn], list(known), outvars)
        return _jax.evaluate(part, (), list(known.values()))

    def scan(self, eqn: Any, inputs: list[Any], loop: tuple[int, ...]) -> None:
        params = eqn.params
        num_consts, num_carry = _jax.scan_sizes(params)
        consts, rest = inputs[:num_consts], inputs[num_consts:]
        carry, xs = rest[:num_carry], rest[num_carry:]
        opened, closed_over = _jax.opened(params["jaxpr"])
        body = jax.jit(_jax.as_function(params["jaxpr"]))
        steps = range(params["length"])
        for step in reversed(steps) if params["reverse"] else steps:
            given = [*consts, *carry, *(x[step] for x in xs)]
            out = body(*given)
            if not all(map(_finite, out)):
                self.run(opened, closed_over, given, (*loop, step))
            carry = out[:num_carry]

    def loop(self, eqn: Any, inputs: list[Any], loop: tuple[int, ...]) -> None:
        params = eqn.params
        of_cond, rest = inputs[: params["cond_nconsts"]], inputs[params["cond_nconsts"] :]
        of_body, state = rest[: params["body_nconsts"]], rest[params["body_nconsts"] :]
        opened, closed_over = _jax.opened(params["body_jaxpr"])
        body = jax.jit(_jax.as_function(params["body_jaxpr"]))
        test = jax.jit(_jax.as_function(params["cond_jaxpr"]))
        step = 0
        while np.any(test(*of_cond, *state)[0]):
            out = body(*of_body, *state)
            if not all(map(_finite, out)):
                self.run(opened, closed_over, [*of_body, *state], (*loop, step))
            state, step = out, step + 1

    def places(self) -> list[Place]:
        """The user's lines, innermost first.

        JAX traces a jitted function once. What it does at a later call still has the lines of the
        first; of those only the innermost counts then, and the callers are those of the later call.
        """
        known: list[Place] = []
        for eqn in self.within:
            own = [Place(*line) for line in _jax.lines_of(eqn) if not is_library_file(line[0])]
            if own[len(own) - len(known) :] == known:
                known = own
            else:
                known = [place for place in own[:1] if place not in known] + known
        return known

    def found(self, eqn: Any, inputs: list[Any], made: list[Any], loop: tuple[int, ...]) -> None:
        scope = "/".join(map(_jax.scope_of, self.within))
        module = next((path for path in self.paths if path in scope), "") or _named(scope)
        places = self.places()
        report = NanReport(
            eqn.primitive.name, tuple(places[:3]), module, loop, tuple(inputs), tuple(made)
        )
        raise _Found(report)


def _named(scope: str) -> str:
    """The classes of the modules, where no path is known: each of their calls is a named scope."""
    names = (part.strip("()") for part in re.split(r"/|\w+\(", scope))  # vmap(jvp(Model))/Layer
    return "/".join(name for name in names if name)


def _has(test: Callable[[Any], Any], x: Any) -> bool:
    return _is_inexact(x) and bool(np.any(test(np.asarray(x))))


def _is_inexact(x: Any) -> bool:
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
