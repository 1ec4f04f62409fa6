"""Whole Jacobians and Hessians: `filter_jacfwd`, `filter_jacrev`, `filter_hessian`."""

from collections.abc import Callable
from typing import Any, Concatenate, Literal, overload

import jax

from filtered_transforms._types import A, Aux, P, PyTree, Wrapped
from filtered_transforms._wrapper import Wrapper, decorate, module_of
from pytree_module import field
from tree_surgery.extend import public

from .inexact_function import InexactInputs, InexactOutputs, pair

_JAX: dict[str, Callable[..., Any]] = {
    "filter_jacfwd": jax.jacfwd,
    "filter_jacrev": jax.jacrev,
    "filter_hessian": jax.hessian,
}


class JacobianWrapper(Wrapper):
    """What `filter_jacfwd`, `filter_jacrev` and `filter_hessian` return."""

    name: str = field(static=True)
    has_aux: bool = field(static=True)
    holomorphic: bool = field(static=True)

    def __init__(self, fun: Any, name: str, has_aux: bool, holomorphic: bool):
        self.fun = fun
        self.__module__ = module_of(fun)
        self.name = name
        self.has_aux = has_aux
        self.holomorphic = holomorphic

    def __call__(self, x: Any, /, *args: Any, **kwargs: Any) -> Any:
        inputs, outputs = InexactInputs(x), InexactOutputs()

        def flat(arrays: list[Any]) -> Any:
            out = self.fun(inputs.tree(arrays), *args, **kwargs)
            aux: list[Any] = []
            if self.has_aux:
                out, aux_tree = pair(out)
                aux = outputs.keep_aux(aux_tree)
            return outputs.split(out)[0], aux

        differentiate = _JAX[self.name](flat, has_aux=True, holomorphic=self.holomorphic)
        found, aux = differentiate(inputs.arrays)
        if self.name == "filter_hessian":
            found = [[inputs.derivative(row) for row in rows] for rows in found]
        out = outputs.derivative([inputs.derivative(row) for row in found])
        return (out, outputs.aux.result(aux)) if self.has_aux else out

    def __repr__(self) -> str:
        return f"{self.name}({self.fun!r})"


def _wrap(fun: Any, name: str, has_aux: bool, holomorphic: bool) -> Any:
    return decorate(lambda fun: JacobianWrapper(fun, name, has_aux, holomorphic), fun, name)


@overload
def filter_jacfwd(
    fun: Callable[Concatenate[A, P], tuple[jax.Array, Aux]],
    has_aux: Literal[True],
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], tuple[A, Aux]]: ...
@overload
def filter_jacfwd(
    fun: Callable[Concatenate[A, P], tuple[Any, Aux]],
    has_aux: Literal[True],
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], tuple[PyTree, Aux]]: ...
@overload
def filter_jacfwd(
    fun: Callable[Concatenate[A, P], jax.Array],
    has_aux: Literal[False] = False,
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], A]: ...
@overload
def filter_jacfwd(
    fun: Callable[Concatenate[A, P], Any],
    has_aux: Literal[False] = False,
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], PyTree]: ...
@public
def filter_jacfwd(
    fun: Callable[..., Any], has_aux: bool = False, *, holomorphic: bool = False
) -> Any:
    """The Jacobian of a function by the inexact arrays of its first argument, column by column.

    For tall Jacobians: it costs one forward pass for each element of the argument.

    **Arguments:**

    - `fun`: any callable.
    - `has_aux`: `fun` returns a pair, of the value and of anything else.
    - `holomorphic`: `fun` is a holomorphic function of complex arrays, and so is its derivative.

    **Returns:**

    A function of the same arguments. Its result has the structure of the result of `fun`, with a
    tree of the structure of the first argument in place of each leaf; leaves of either that are no
    inexact arrays give `None`. With `has_aux`, a pair of that and the auxiliary value.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jacfwd

    jacobian = filter_jacfwd(lambda x, n: x**n)(jnp.array([1.0, 2.0]), 2)
    assert jacobian.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    ```
    """
    return _wrap(fun, "filter_jacfwd", has_aux, holomorphic)


@overload
def filter_jacrev(
    fun: Callable[Concatenate[A, P], tuple[jax.Array, Aux]],
    has_aux: Literal[True],
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], tuple[A, Aux]]: ...
@overload
def filter_jacrev(
    fun: Callable[Concatenate[A, P], tuple[Any, Aux]],
    has_aux: Literal[True],
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], tuple[PyTree, Aux]]: ...
@overload
def filter_jacrev(
    fun: Callable[Concatenate[A, P], jax.Array],
    has_aux: Literal[False] = False,
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], A]: ...
@overload
def filter_jacrev(
    fun: Callable[Concatenate[A, P], Any],
    has_aux: Literal[False] = False,
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], PyTree]: ...
@public
def filter_jacrev(
    fun: Callable[..., Any], has_aux: bool = False, *, holomorphic: bool = False
) -> Any:
    """The Jacobian of a function by the inexact arrays of its first argument, row by row.

    For wide Jacobians: it costs one backward pass for each element of the result.

    **Arguments** and **Returns:** as `filter_jacfwd`.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jacrev

    jacobian = filter_jacrev(lambda x, n: x**n)(jnp.array([1.0, 2.0]), 2)
    assert jacobian.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    ```
    """
    return _wrap(fun, "filter_jacrev", has_aux, holomorphic)


@overload
def filter_hessian(
    fun: Callable[Concatenate[jax.Array, P], jax.Array],
    has_aux: Literal[False] = False,
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[jax.Array, P], jax.Array]: ...
@overload
def filter_hessian(
    fun: Callable[Concatenate[A, P], tuple[Any, Aux]],
    has_aux: Literal[True],
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], tuple[PyTree, Aux]]: ...
@overload
def filter_hessian(
    fun: Callable[Concatenate[A, P], Any],
    has_aux: Literal[False] = False,
    *,
    holomorphic: bool = False,
) -> Wrapped[Concatenate[A, P], PyTree]: ...
@public
def filter_hessian(
    fun: Callable[..., Any], has_aux: bool = False, *, holomorphic: bool = False
) -> Any:
    """The second derivatives of a function by the inexact arrays of its first argument.

    **Arguments** and **Returns:** as `filter_jacfwd`, with a tree of trees for each leaf of the
    result.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_hessian

    hessian = filter_hessian(lambda x: jnp.sum(x**3))(jnp.array([1.0, 2.0]))
    assert hessian.tolist() == [[6.0, 0.0], [0.0, 12.0]]
    ```
    """
    return _wrap(fun, "filter_hessian", has_aux, holomorphic)
