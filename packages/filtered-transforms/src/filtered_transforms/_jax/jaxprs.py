"""How the ends of a jaxpr are read: arguments, results, constants, and where devices hold them.

Decided here: how constants are taken out of a jaxpr; since JAX 0.12 it is one object with them.
Seen to work with JAX 0.7.2 to 0.12.
"""

from typing import Any

from tree_surgery.extend import public

from .jaxpr_classes import AnyJaxpr, own

ShapeAndDtype = tuple[tuple[int, ...], Any]  # of what a device holds of an array


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
    return own(jaxpr).outvars


def constants(jaxpr: Any) -> list[Any]:
    """The constants that a jaxpr holds: none, if it is not closed."""
    return list(getattr(jaxpr, "consts", ()))


def variables_of(jaxpr: Any) -> list[Any]:
    """The variables of the constants of a jaxpr, and then those of its arguments."""
    inner = own(jaxpr)
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
    return [variable.aval for variable in own(jaxpr).invars]


@public("filtered_transforms.extend")
def jaxpr_output_types(jaxpr: AnyJaxpr) -> list[Any]:
    """The same of the results of a jaxpr.

    The example is that of `jaxpr_input_types`.
    """
    return [atom.aval for atom in own(jaxpr).outvars]


def opened(jaxpr: Any) -> tuple[Any, list[Any]]:
    """A jaxpr, closed or not, as one that holds no constants, and its constants.

    They are one object since JAX 0.12; taken apart, the variables of the constants are inputs.
    """
    inner, consts = own(jaxpr), constants(jaxpr)
    if consts and inner is jaxpr:
        inner = jaxpr.replace(consts=[])
    return inner, consts


def ends_on_a_device(jaxpr: Any) -> tuple[list[ShapeAndDtype], list[ShapeAndDtype]]:
    """What a device holds of each argument of a closed jaxpr, and of each result.

    As far as types say so, which is on meshes of explicit axes. `aval.sharding`, all JAX versions.
    """
    arguments, results = (
        [(aval.sharding.shard_shape(aval.shape), aval.dtype) for aval in types]
        for types in (jaxpr_input_types(jaxpr), jaxpr_output_types(jaxpr))
    )
    return arguments, results
