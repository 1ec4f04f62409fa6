"""Everything that this distribution needs of JAX beyond its stable names. One function per need."""

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import jax.core
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad, batching, mlir, partial_eval

from tree_surgery.extend import public

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr as ClosedJaxpr
    from jax.extend.core import Jaxpr as Jaxpr
    from jax.extend.core import JaxprEqn, Literal, Var
    from jax.extend.core import Primitive as Primitive

    AnyJaxpr: TypeAlias = ClosedJaxpr | Jaxpr
    Atom: TypeAlias = Var | Literal
else:
    Primitive = type(jax.lax.add_p)  # the class `jax.extend.core.Primitive`, all JAX versions

    class AnyJaxpr:
        """A `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`: with its constants or without."""

    class Atom:
        """What stands in an equation for a value: a variable, or a constant."""

    class JaxprEqn:
        """An equation as JAX writes it: a `jax.extend.core.JaxprEqn`."""


JaxprT = TypeVar("JaxprT", bound=AnyJaxpr)

ShapeAndDtype = tuple[tuple[int, ...], Any]  # of what a device holds of an array

Tracer: type = jax.core.Tracer
"""The class of traced values. `jax.core.Tracer`, all JAX versions."""


def is_concrete(x: Any) -> bool:
    """Whether `x` is a value rather than a traced one."""
    return not isinstance(x, Tracer)


def program_of(traced: Any) -> Any:
    """The closed jaxpr of what `jax.jit(...).trace` returns, with all that it calls in sight.

    JAX 0.12 has primitives that hide their functions (`custom_root`), and `Traced.lojax` is the
    program without them. Before, where it is missing there is nothing to be expanded.
    """
    return getattr(traced, "lojax", traced).jaxpr


def jitted_as(fun: Any) -> Any:
    """What a function of `jax.jit` and its copies share: how it was jitted, and which function.

    The state that `copy` is given; JAX 0.7.2 up to 0.12. The function itself where there is none.
    """
    state = fun.__getstate__()
    return state.get("cache_miss", fun) if isinstance(state, dict) else fun


# --- primitives: for the toolkit in `extend`. `jax.interpreters`, all JAX versions.

ShapedArray = jax.core.ShapedArray
Zero = ad.Zero
UndefinedPrimal = ad.UndefinedPrimal


def is_zero(tangent: Any) -> bool:
    """Whether a tangent or cotangent is a symbolic zero."""
    return isinstance(tangent, ad.Zero)


def is_undefined(x: Any) -> bool:
    """Whether `x` stands for the linear argument of a transpose rule."""
    return isinstance(x, ad.UndefinedPrimal)


def zero_tangent(x: Any) -> Any:
    """The symbolic zero among the tangents of an array, or of its shape and dtype."""
    aval = x if isinstance(x, ShapedArray) else jax.typeof(x)
    return ad.Zero(aval.to_tangent_aval())


def shaped_array(x: Any) -> Any:
    """The abstract value of an array, or of a `jax.ShapeDtypeStruct`."""
    if isinstance(x, ShapedArray):
        return x
    if isinstance(x, jax.ShapeDtypeStruct):
        return ShapedArray(x.shape, x.dtype, weak_type=getattr(x, "weak_type", False))
    return jax.typeof(x)


_ARRAYS = (
    jax.Array,
    jax.core.Tracer,
    np.ndarray,
    np.generic,
    jax.core.ShapedArray,
    ad.Zero,
    ad.UndefinedPrimal,
)


def as_array(x: Any) -> Any:
    """What JAX hands to a rule for an array, as one.

    A constant comes as a number: Python's, or since JAX 0.9 of a subclass that knows its dtype;
    before, also as a class of JAX's own. Taken for what it looks like, it would be static.
    """
    return x if isinstance(x, _ARRAYS) else jnp.asarray(x)


def as_arrays(xs: Iterable[Any]) -> list[Any]:
    """The same for several."""
    return list(map(as_array, xs))


def new_primitive(name: str, multiple_results: bool) -> Primitive:
    """A primitive without rules."""
    primitive = Primitive(name)
    primitive.multiple_results = multiple_results
    return primitive


def set_rules(
    primitive: Any,
    impl: Callable[..., Any] | None = None,
    shapes: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    transpose: Callable[..., Any] | None = None,
    batch: Callable[..., Any] | None = None,
    *,
    is_kept: bool = False,
) -> None:
    """Gives a primitive its rules. What `impl` does is what it is lowered to.

    `shapes(*avals, **params)`; `jvp(primals, tangents, **params)`;
    `transpose(cotangents, *operands, **params)`; `batch(operands, dims, **params)`. Constants among
    operands come to them as arrays. `is_kept`: it is never left out of a program, even if nobody
    needs what it returns.
    """
    several = primitive.multiple_results
    if impl is not None:
        primitive.def_impl(lambda *xs, **ps: impl(*as_arrays(xs), **ps))
        lower = mlir.lower_fun(impl, multiple_results=primitive.multiple_results)
        mlir.register_lowering(primitive, lower)
    if shapes is not None:
        if is_kept:
            effects = {debug_effect()}
            primitive.def_effectful_abstract_eval(lambda *xs, **ps: (shapes(*xs, **ps), effects))
        else:
            primitive.def_abstract_eval(shapes)
    if jvp is not None:
        ad.primitive_jvps[primitive] = lambda xs, ts, **ps: jvp(as_arrays(xs), as_arrays(ts), **ps)
    if transpose is not None:
        ad.primitive_transposes[primitive] = lambda cts, *xs, **ps: transpose(
            as_arrays(cts) if several else as_array(cts), *as_arrays(xs), **ps
        )
    if batch is not None:
        batching.primitive_batchers[primitive] = lambda xs, dims, **ps: batch(
            as_arrays(xs), dims, **ps
        )


@public("filtered_transforms.extend")
@functools.cache
def debug_effect() -> Any:
    """The effect of `jax.debug.callback`: no order, allowed everywhere, never left out. All JAX.

    For the abstract evaluation of a primitive that has to stay in a program although nobody needs
    what it returns.

    ```python
    import jax
    from filtered_transforms.extend import debug_effect

    assert debug_effect() in jax.make_jaxpr(lambda: jax.debug.print("here"))().effects
    ```
    """
    (effect,) = jax.make_jaxpr(lambda: jax.debug.callback(_nothing))().effects
    return effect


def _nothing() -> None:
    pass


# --- jaxprs: the only place that knows how they and their equations are written


@functools.cache
def _core() -> Any:
    """`jax.extend.core`, imported when a jaxpr is first read: JAX 0.10 imports Pallas with it."""
    return importlib.import_module("jax.extend.core")


@functools.cache
def _drop_var() -> Any:
    return getattr(_core(), "DropVar", None) or jax.core.DropVar  # it has moved


def __getattr__(name: str) -> Any:
    """The classes of jaxprs, when they are first asked for."""
    if name not in ("ClosedJaxpr", "Jaxpr"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_core(), name)


@public("filtered_transforms.extend")
def is_literal(value: object) -> bool:
    """Whether an input of an equation, or a result of a jaxpr, is a constant, not a variable.

    **Arguments:**

    - `value`: one of `Equation.inputs`.

    The example is that of `Equation`.
    """
    return isinstance(value, _core().Literal)


@public("filtered_transforms.extend")
def is_dropped(variable: object) -> bool:
    """Whether an output of an equation is dropped: it is computed, and nothing can refer to it.

    Newer JAX drops nothing when it traces. There, an output that nobody reads is a variable.

    **Arguments:**

    - `variable`: one of `Equation.outputs`.

    The example is that of `Equation`.
    """
    return isinstance(variable, _drop_var())


@public("filtered_transforms.extend")
class Equation:
    """One equation of a jaxpr, `outputs = primitive[params](inputs)`, as an interpreter reads it.

    It hides how the JAX at hand writes equations, which changes between versions. `equations`
    makes them.

    **Attributes:**

    - `primitive`, `name`: a `jax.extend.core.Primitive`, and its name.
    - `params`: its parameters, by name.
    - `inputs`: for each operand a variable, or a constant (`is_literal`).
    - `outputs`: for each result a variable, perhaps one that nobody can refer to (`is_dropped`).
        Variables have a hash, and are equal to themselves alone.
    - `input_types`, `output_types`: shape, dtype and the rest, as from `jax.typeof`.
    - `scope`: the named scopes in which it was traced, outermost first, separated by `/`.
    - `lines`: file, line and function of the Python frames that made it, JAX's included,
        innermost first.
    - `jaxprs`: all jaxprs among its parameters. `inner_programs` says what they are.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import equations, is_dropped, is_literal

    (equation,) = equations(jax.make_jaxpr(lambda x: 2 * x)(jnp.ones(3)))
    assert equation.name == "mul" and equation.primitive is jax.lax.mul_p
    assert [is_literal(value) for value in equation.inputs] == [True, False]
    assert [is_dropped(variable) for variable in equation.outputs] == [False]
    assert equation.output_types[0].shape == (3,)
    assert "<lambda>" in [function for file, line, function in equation.lines]
    assert equation.bind([3.0, 4.0]) == [12.0]
    ```
    """

    __slots__ = ("_eqn",)

    def __init__(self, eqn: JaxprEqn):
        self._eqn = eqn

    @property
    def primitive(self) -> Primitive:
        return self._eqn.primitive

    @property
    def name(self) -> str:
        return self._eqn.primitive.name

    @property
    def params(self) -> dict[str, Any]:
        return self._eqn.params

    @property
    def inputs(self) -> Sequence[Atom]:
        return self._eqn.invars

    @property
    def outputs(self) -> Sequence[Atom]:
        return self._eqn.outvars

    @property
    def input_types(self) -> list[Any]:
        return [atom.aval for atom in self._eqn.invars]

    @property
    def output_types(self) -> list[Any]:
        return [variable.aval for variable in self._eqn.outvars]

    @property
    def scope(self) -> str:
        return str(self._eqn.source_info.name_stack)

    @property
    def lines(self) -> list[tuple[str, int, str]]:
        traceback = self._eqn.source_info.traceback
        frames = () if traceback is None else traceback.frames
        return [(f.file_name, f.line_num, f.function_name) for f in frames]

    @property
    def jaxprs(self) -> list[AnyJaxpr]:
        return list(_jaxprs_among(self._eqn.params.values()))

    def bind(self, inputs: Sequence[Any], **params: Any) -> list[Any]:
        """What the primitive returns for other inputs, always as a list.

        **Arguments:**

        - `inputs`: arrays, traced or not.
        - `**params`: what takes the place of its parameters of these names.

        **Returns:** a list of arrays, computed in the scope of the equation.
        """
        eqn = self._eqn
        found = eqn.primitive.get_bind_params({**eqn.params, **params})  # a pair up to JAX 0.9
        functions, given = ((), found) if isinstance(found, dict) else found
        # The context holds what was set around the equation, such as the mesh. All JAX versions.
        with self.in_scope(), eqn.ctx.manager:
            out = eqn.primitive.bind(*functions, *inputs, **given)
        return list(out) if eqn.primitive.multiple_results else [out]

    def in_scope(self) -> AbstractContextManager[Any]:
        """In this context, what is traced has the named scopes of the equation."""
        scope = self.scope
        return jax.named_scope(scope) if scope else contextlib.nullcontext()

    def __repr__(self) -> str:
        return f"<equation {self._eqn}>"


def _jaxprs_among(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, (_core().ClosedJaxpr, _core().Jaxpr)):
                yield item


def _own(jaxpr: Any) -> Any:
    """A jaxpr, closed or not, whose inputs are its arguments: `opened` may put constants first."""
    return getattr(jaxpr, "jaxpr", jaxpr)


@public("filtered_transforms.extend")
def equations(jaxpr: AnyJaxpr) -> list[Equation]:
    """The equations of a jaxpr, in order. What is within them is not looked into.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.

    The example is that of `Equation`.
    """
    return [Equation(eqn) for eqn in _own(jaxpr).eqns]


@public("filtered_transforms.extend")
def all_jaxprs(jaxpr: AnyJaxpr) -> list[Any]:
    """A jaxpr and all jaxprs within it, each of them once, outer ones first.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import all_jaxprs, equations

    sin = jax.jit(jnp.sin)
    jaxpr = jax.make_jaxpr(lambda x: sin(x) + sin(x))(1.0)
    names = [equation.name for inner in all_jaxprs(jaxpr) for equation in equations(inner)]
    assert names.count("sin") == 1 and names.count("add") == 1
    ```
    """
    found: dict[int, Any] = {}
    todo = [jaxpr]
    while todo:
        current = todo.pop()
        if id(current) not in found:
            found[id(current)] = current
            params = (eqn.params.values() for eqn in _own(current).eqns)
            todo.extend(reversed([inner for values in params for inner in _jaxprs_among(values)]))
    return list(found.values())


@public("filtered_transforms.extend")
def jaxpr_results(jaxpr: AnyJaxpr) -> list[Any]:
    """What a jaxpr returns: variables, and constants (`is_literal`).

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.

    ```python
    import jax
    from filtered_transforms.extend import equations, jaxpr_results

    jaxpr = jax.make_jaxpr(lambda x: 2 * x)(1.0)
    assert jaxpr_results(jaxpr) == equations(jaxpr)[0].outputs
    ```
    """
    return _own(jaxpr).outvars


def constants(jaxpr: Any) -> list[Any]:
    """The constants that a jaxpr holds: none, if it is not closed."""
    return list(getattr(jaxpr, "consts", ()))


def variables_of(jaxpr: Any) -> list[Any]:
    """The variables of the constants of a jaxpr, and then those of its arguments."""
    inner = _own(jaxpr)
    return [*inner.constvars, *inner.invars]


@public("filtered_transforms.extend")
def jaxpr_input_types(jaxpr: AnyJaxpr) -> list[Any]:
    """Shape, dtype and the rest of the arguments of a jaxpr, as from `jax.typeof`.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import jaxpr_input_types, jaxpr_output_types

    jaxpr = jax.make_jaxpr(lambda x: x.sum())(jnp.ones(3))
    assert [type_.shape for type_ in jaxpr_input_types(jaxpr)] == [(3,)]
    assert [type_.shape for type_ in jaxpr_output_types(jaxpr)] == [()]
    ```
    """
    return [variable.aval for variable in _own(jaxpr).invars]


@public("filtered_transforms.extend")
def jaxpr_output_types(jaxpr: AnyJaxpr) -> list[Any]:
    """The same of the results of a jaxpr.

    The example is that of `jaxpr_input_types`.
    """
    return [atom.aval for atom in _own(jaxpr).outvars]


def opened(jaxpr: Any) -> tuple[Any, list[Any]]:
    """A jaxpr, closed or not, as one that holds no constants, and its constants.

    They are one object since JAX 0.12; taken apart, the variables of the constants are inputs.
    """
    inner, consts = _own(jaxpr), constants(jaxpr)
    if consts and inner is jaxpr:
        inner = jaxpr.replace(consts=[])
    return inner, consts


def evaluate(jaxpr: Any, consts: list[Any], args: list[Any]) -> list[Any]:
    """The results of a jaxpr, its source lines and scopes kept.

    `jax.extend.core.jaxpr_as_fun`, all JAX versions.
    """
    return _core().jaxpr_as_fun(_core().ClosedJaxpr(jaxpr, consts))(*args)


@public("filtered_transforms.extend")
def jaxpr_as_function(jaxpr: AnyJaxpr) -> Callable[..., list[Any]]:
    """A jaxpr as a function of its arguments that returns a list of arrays.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr` without constants.

    ```python
    import jax
    from filtered_transforms.extend import jaxpr_as_function

    double = jaxpr_as_function(jax.make_jaxpr(lambda x: 2 * x)(1.0))
    assert double(3.0) == [6.0]
    ```
    """
    inner, consts = opened(jaxpr)
    return lambda *args: evaluate(inner, consts, list(args))


def evaluate_part(
    jaxpr: Any, part: Sequence[Equation], values: dict[Any, Any]
) -> Iterable[tuple[Any, Any]]:
    """Evaluates some equations of a jaxpr that stand together, their lines and scopes kept.

    Returns the variables that they make, with their values. `values` has those that they need.
    """
    made: dict[Any, None] = {}
    needed: dict[Any, None] = {}
    eqns = [equation._eqn for equation in part]  # pyright: ignore[reportPrivateUsage]  (here only)
    for eqn in eqns:
        for atom in eqn.invars:
            if not isinstance(atom, _core().Literal) and atom not in made:
                needed[atom] = None
        for variable in eqn.outvars:
            if not isinstance(variable, _drop_var()):
                made[variable] = None
    inner = _own(jaxpr)
    excerpt = inner.replace(
        constvars=[],
        invars=list(needed),
        outvars=list(made),
        eqns=eqns,
        debug_info=inner.debug_info._replace(arg_names=None, result_paths=None),
    )
    found = jax.core.eval_jaxpr(excerpt, (), *[values[variable] for variable in needed])
    return zip(made, found, strict=True)


@public("filtered_transforms.extend")
def retrace(jaxpr: JaxprT, run: Callable[..., list[Any]]) -> JaxprT:
    """A jaxpr of what `run(jaxpr, args, consts)` does, for the arguments of a jaxpr.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.
    - `run`: such as `Interpreter.run`.

    **Returns:** a jaxpr, closed as the one that was given.

    The example is that of `Interpreter`.
    """
    inner, consts = opened(jaxpr)
    args = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
        for aval in jaxpr_input_types(jaxpr)
    ]
    made: Any = jax.make_jaxpr(lambda *args: run(inner, args, consts))(*args)
    if isinstance(jaxpr, _core().ClosedJaxpr):
        return made
    assert not made.consts, "a jaxpr without constants cannot get any"
    return made.jaxpr


def with_jaxprs(params: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Those of the parameters of an equation that hold jaxprs, each of them changed."""

    def changed(value: Any) -> Any:
        if isinstance(value, (_core().ClosedJaxpr, _core().Jaxpr)):
            return change(value)
        if not isinstance(value, (tuple, list)) or not any(True for _ in _jaxprs_among([value])):
            return value
        make: Any = getattr(value, "_make", type(value))  # `custom_linear_solve` has a named tuple
        return make(map(changed, value))

    new = {name: changed(value) for name, value in params.items()}
    return {name: value for name, value in new.items() if value is not params[name]}


def handed_on(closed: Any, primitive: Any) -> Any:
    """The jaxpr in which each equation of a primitive returns its first operand for what follows.

    Where that variable is read after the equation, its last result is read.
    """
    inner = _own(closed)
    latest: dict[Any, Any] = {}
    eqns: list[Any] = []
    for eqn in inner.eqns:
        eqn = _reading(eqn, latest)
        if eqn.primitive is primitive:
            *others, last = eqn.outvars
            if is_dropped(last):
                last = _core().Var(last.aval)
                eqn = eqn.replace(outvars=[*others, last])
            # All names under which the array was known until here.
            older = [name for name, now in latest.items() if now is eqn.invars[0]]
            latest.update(dict.fromkeys((eqn.invars[0], *older), last))
        eqns.append(eqn)
    if not latest:
        return closed
    outvars = [v if isinstance(v, _core().Literal) else latest.get(v, v) for v in inner.outvars]
    new = inner.replace(eqns=eqns, outvars=outvars)
    return new if closed is inner else closed.replace(jaxpr=new)


def _reading(eqn: Any, latest: dict[Any, Any]) -> Any:
    """The equation, which reads other variables in the place of some."""
    if not any(not isinstance(v, _core().Literal) and v in latest for v in eqn.invars):
        return eqn
    return eqn.replace(
        invars=[v if isinstance(v, _core().Literal) else latest.get(v, v) for v in eqn.invars]
    )


def used_arguments(jaxpr: Any) -> list[bool]:
    """Which arguments of a closed jaxpr its results or effects need; JAX drops the others.

    `jax.interpreters.partial_eval.dce_jaxpr`, all JAX versions.
    """
    inner, _ = opened(jaxpr)
    used = list(partial_eval.dce_jaxpr(inner, [True] * len(inner.outvars))[1])
    return used[len(used) - len(_own(jaxpr).invars) :]


@public("filtered_transforms.extend")
def without_dead_code(jaxpr: JaxprT) -> JaxprT:
    """A closed jaxpr without the equations that nobody needs. `dce_jaxpr`, all JAX versions.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`.

    **Returns:** another, of the same arguments and results.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import equations, without_dead_code

    jaxpr = jax.make_jaxpr(lambda x: [jnp.sin(x), 2 * x][1])(1.0)
    assert [equation.name for equation in equations(jaxpr)] == ["sin", "mul"]
    assert [equation.name for equation in equations(without_dead_code(jaxpr))] == ["mul"]
    ```
    """
    inner, consts = opened(jaxpr)
    needed = [True] * len(inner.outvars)
    smaller, _ = partial_eval.dce_jaxpr(inner, needed, instantiate=True)
    return _core().ClosedJaxpr(smaller, consts)


def ends_on_a_device(jaxpr: Any) -> tuple[list[ShapeAndDtype], list[ShapeAndDtype]]:
    """What a device holds of each argument of a closed jaxpr, and of each result.

    As far as types say so, which is on meshes of explicit axes. `aval.sharding`, all JAX versions.
    """
    arguments, results = (
        [(aval.sharding.shard_shape(aval.shape), aval.dtype) for aval in types]
        for types in (jaxpr_input_types(jaxpr), jaxpr_output_types(jaxpr))
    )
    return arguments, results


def scan_sizes(params: dict[str, Any]) -> tuple[int, int]:
    """How many constants and how many values in the carry a scan has. JAX 0.12 keeps trees."""
    if "num_carry" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts.vals), len(carry.vals)


@functools.cache
def unspecified_sharding() -> Any:
    """What `jax.jit` takes for a sharding that is not for the caller to say; all JAX versions."""
    (eqn,) = jax.make_jaxpr(jax.jit(lambda x: x + 1))(1.0).jaxpr.eqns
    return eqn.params["out_shardings"][0]


@public("filtered_transforms.extend")
def bind_jit(equation: Equation, jaxpr: AnyJaxpr, inputs: Sequence[Any]) -> list[Any]:
    """What the equation of a jitted function returns, with another jaxpr of the same arguments.

    **Arguments:**

    - `equation`: of which `inner_programs` is an `InnerCall` of kind `"jit"`.
    - `jaxpr`: closed. It may have more results: how they lie on devices, JAX decides.
    - `inputs`: the operands.

    **Returns:** the list of all results, those of the equation first.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import bind_jit, equations

    (equation,) = equations(jax.make_jaxpr(jax.jit(jnp.sin))(0.0))
    both = jax.make_jaxpr(lambda x: (jnp.sin(x), jnp.cos(x)))(0.0)
    assert bind_jit(equation, both, [0.0]) == [0.0, 1.0]
    ```
    """
    params = equation.params
    more = len(jaxpr_output_types(jaxpr)) - len(equation.outputs)
    return equation.bind(
        inputs,
        jaxpr=jaxpr,
        out_shardings=(*params["out_shardings"], *[unspecified_sharding()] * more),
        out_layouts=(*params["out_layouts"], *[None] * more),
    )
