"""How the equations of a jaxpr are read: `Equation`, and which jaxprs are within it.

Decided here: what an interpreter sees of an equation, of its operands and of its scopes. Seen to
work with JAX 0.7.2 to 0.12.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax

from tree_surgery.extend import public

from .jaxpr_classes import AnyJaxpr, Atom, JaxprEqn, Primitive, core, drop_var, is_jaxpr, own


@public("filtered_transforms.extend")
def is_literal(value: object) -> bool:
    """Whether an input of an equation, or a result of a jaxpr, is a constant, not a variable.

    **Arguments:**

    - `value`: one of `Equation.inputs`.

    The example is that of `Equation`.
    """
    return isinstance(value, core().Literal)


@public("filtered_transforms.extend")
def is_dropped(variable: object) -> bool:
    """Whether an output of an equation is dropped: it is computed, and nothing can refer to it.

    Newer JAX drops nothing when it traces. There, an output that nobody reads is a variable.

    **Arguments:**

    - `variable`: one of `Equation.outputs`.

    The example is that of `Equation`.
    """
    return isinstance(variable, drop_var())


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
    - `is_of_derivative`: whether its scopes say that it was traced for a derivative: by `jax.jvp`,
        or by what is made of that, such as `jax.grad`.
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
    def is_of_derivative(self) -> bool:
        return "jvp(" in self.scope  # also where it is transposed

    @property
    def lines(self) -> list[tuple[str, int, str]]:
        traceback = self._eqn.source_info.traceback
        frames = () if traceback is None else traceback.frames
        return [(f.file_name, f.line_num, f.function_name) for f in frames]

    @property
    def jaxprs(self) -> list[AnyJaxpr]:
        return list(jaxprs_among(self._eqn.params.values()))

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


def jaxprs_among(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if is_jaxpr(item):
                yield item


@public("filtered_transforms.extend")
def equations(jaxpr: AnyJaxpr) -> list[Equation]:
    """The equations of a jaxpr, in order. What is within them is not looked into.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.

    The example is that of `Equation`.
    """
    return [Equation(eqn) for eqn in own(jaxpr).eqns]


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
            params = (eqn.params.values() for eqn in own(current).eqns)
            todo.extend(reversed([inner for values in params for inner in jaxprs_among(values)]))
    return list(found.values())
