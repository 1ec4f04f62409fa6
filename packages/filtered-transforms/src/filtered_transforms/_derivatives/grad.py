"""Gradients by the inexact arrays of the first argument, or by some of them."""

from collections.abc import Callable
from typing import Any, Concatenate, Literal, TypedDict, Unpack, overload

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.static_leaf import wrap_static
from filtered_transforms._types import (
    A,
    Aux,
    GradAuxDecorator,
    GradDecorator,
    P,
    PyTree,
    R,
    ValueAndGradDecorator,
    Wrapped,
)
from filtered_transforms._wrapper import Wrapper, decorate, module_of
from pytree_module import field
from tree_surgery.extend import public

from .choose_wrt import differentiated


class GradKwargs(TypedDict, total=False):
    """The options of `jax.grad` that do not refer to parameters."""

    holomorphic: bool
    allow_int: bool


_Options = tuple[bool, bool, tuple[tuple[str, Any], ...]]  # has_aux, with_value, gradkwargs


class GradWrapper(Wrapper):
    """What `filter_grad` and `filter_value_and_grad` return."""

    wrt: Any
    has_aux: bool = field(static=True)
    with_value: bool = field(static=True)
    gradkwargs: tuple[tuple[str, Any], ...] = field(static=True)

    def __init__(self, fun: Any, wrt: Any, options: _Options):
        self.fun = fun
        self.__module__ = module_of(fun)
        self.wrt = wrt
        self.has_aux, self.with_value, self.gradkwargs = options

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 0:
            raise _no_first_argument(self._public_name, kwargs)
        fun, has_aux = self.fun, self.has_aux
        leaves, treedef = jtu.tree_flatten(args[0])
        mask = differentiated(args[0], leaves, self.wrt)
        inexact, others = split(leaves, mask)
        if len(inexact) == 0:
            raise _nothing_to_differentiate(self._public_name, leaves, args[0], self.wrt)
        rest = args[1:]

        def flat(inexact: list[Any]) -> Any:
            first = treedef.unflatten(merge(mask, inexact, others))
            out = fun(first, *rest, **kwargs)
            if has_aux:
                return _checked_aux(out)
            return out

        differentiate = jax.value_and_grad(flat, has_aux=has_aux, **dict(self.gradkwargs))
        value, gradients = differentiate(inexact)
        gradient = treedef.unflatten(merge(mask, gradients, [None] * len(others)))
        if self.with_value:
            return value, gradient
        return (gradient, value[1]) if has_aux else gradient

    @property
    def _public_name(self) -> str:
        return "filter_value_and_grad" if self.with_value else "filter_grad"

    def __repr__(self) -> str:
        return f"{self._public_name}({self.fun!r})"


def _checked_aux(out: Any) -> Any:
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(
            f"with `has_aux=True` the function must return a pair (value, aux): expected function "
            f"with aux output to return a two-element tuple, but got a {type(out).__name__}."
        )
    value, aux = out
    return value, wrap_static(aux)


def _no_first_argument(name: str, kwargs: dict[str, Any]) -> TypeError:
    if kwargs:
        return TypeError(
            f"Functions wrapped with `{name}` must have their first argument passed by position, "
            f"not keyword: it is the argument that is differentiated. Got the keywords "
            f"{', '.join(kwargs)} alone."
        )
    return TypeError(
        f"Functions wrapped with `{name}` must have at least one positional argument: it is the "
        f"argument that is differentiated."
    )


def _nothing_to_differentiate(name: str, leaves: list[Any], first: Any, wrt: Any) -> TypeError:
    found = ", ".join(sorted({_kind(leaf) for leaf in leaves})) or "no leaves"
    selected = "" if wrt is None else f" among what `wrt={wrt!r}` selects"
    return TypeError(
        f"`{name}` found nothing to differentiate: the first argument, a {type(first).__name__}, "
        f"holds no floating-point array{selected} (in all it holds: {found}). Python numbers are "
        f"static; convert them with `jnp.asarray`."
    )


def _kind(leaf: Any) -> str:
    # Without shapes: a model may have many, and what matters here is that none is inexact.
    dtype = getattr(leaf, "dtype", None)
    return type(leaf).__name__ if dtype is None else f"array of {dtype}"


def _check_gradkwargs(name: str, gradkwargs: dict[str, Any]) -> None:
    if "argnums" in gradkwargs:
        raise ValueError(
            f"`{name}` takes no `argnums`, which should not be passed: it differentiates its first "
            f"argument. To differentiate several, collect them in a tuple and pass that first."
        )
    unknown = gradkwargs.keys() - {"holomorphic", "allow_int", "reduce_axes"}
    if unknown:
        raise TypeError(f"`{name}` got an unexpected keyword argument {min(unknown)!r}.")


def _wrap(fun: Any, wrt: Any, has_aux: bool, with_value: bool, gradkwargs: dict[str, Any]) -> Any:
    name = "filter_value_and_grad" if with_value else "filter_grad"
    _check_gradkwargs(name, gradkwargs)
    options = has_aux, with_value, tuple(sorted(gradkwargs.items()))

    def wrap(fun: Any) -> GradWrapper:
        return GradWrapper(fun, wrt, options)

    if fun is ...:
        return lambda fun: decorate(wrap, fun, name)
    return decorate(wrap, fun, name)


@overload
def filter_value_and_grad(
    *, has_aux: bool = False, wrt: PyTree = None, **gradkwargs: Unpack[GradKwargs]
) -> ValueAndGradDecorator: ...
@overload
def filter_value_and_grad(
    fun: Callable[Concatenate[A, P], R],
    *,
    has_aux: bool = False,
    wrt: PyTree = None,
    **gradkwargs: Unpack[GradKwargs],
) -> Wrapped[Concatenate[A, P], tuple[R, A]]: ...
@public
def filter_value_and_grad(
    fun: Any = ..., *, has_aux: bool = False, wrt: PyTree = None, **gradkwargs: Any
) -> Any:
    """The value of a function and its gradient by the inexact arrays of the first argument.

    **Arguments:**

    - `fun`: a function that returns a real scalar. Left out, a decorator is returned.
    - `has_aux`: `fun` returns a pair instead, of the scalar and anything else.
    - `wrt`: what to differentiate by, of the inexact arrays of the first argument; all of them
        without. Either a filter, as for `partition`: a function of a leaf, a `bool`, or a tree of
        those that is a prefix of the argument, such as `tree_surgery.trainable` makes. Or what
        `tree_surgery.where` takes: a path pattern (`"layers.*.weight"`), a type, a selector made
        of these, or a list of them.
    - `**gradkwargs`: passed on to `jax.value_and_grad`: `holomorphic`, `allow_int`.

    **Returns:**

    A function of the same arguments that returns `(value, gradient)`, or, with `has_aux`,
    `((value, aux), gradient)`. The gradient has the structure of the first argument, with `None`
    for each leaf that is not a floating-point or complex array, or that `wrt` does not select.

    **Raises:** `TypeError` when called without a positional argument, or with a first argument that
    holds nothing to differentiate; `ValueError` for `argnums`, and for a `wrt` that does not fit
    the argument (`tree_surgery.WhereError` if it is a pattern that matches nothing).

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_value_and_grad

    @filter_value_and_grad
    def loss(params, power):
        return jnp.sum(params["w"] ** power)

    value, gradient = loss({"w": jnp.ones(3), "name": "w"}, 2)
    assert value == 3.0 and gradient["w"][0] == 2.0 and gradient["name"] is None
    ```

    Of a part alone:

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_value_and_grad

    loss = filter_value_and_grad(lambda p: jnp.sum(p["w"] * p["b"]), wrt="b")
    value, gradient = loss({"w": jnp.ones(3), "b": jnp.ones(3)})
    assert gradient["w"] is None and gradient["b"].tolist() == [1.0, 1.0, 1.0]
    ```
    """
    return _wrap(fun, wrt, has_aux, True, gradkwargs)


@overload
def filter_grad(
    *, has_aux: Literal[False] = False, wrt: PyTree = None, **gradkwargs: Unpack[GradKwargs]
) -> GradDecorator: ...
@overload
def filter_grad(
    *, has_aux: Literal[True], wrt: PyTree = None, **gradkwargs: Unpack[GradKwargs]
) -> GradAuxDecorator: ...
@overload
def filter_grad(
    fun: Callable[Concatenate[A, P], Any],
    *,
    has_aux: Literal[False] = False,
    wrt: PyTree = None,
    **gradkwargs: Unpack[GradKwargs],
) -> Wrapped[Concatenate[A, P], A]: ...
@overload
def filter_grad(
    fun: Callable[Concatenate[A, P], tuple[Any, Aux]],
    *,
    has_aux: Literal[True],
    wrt: PyTree = None,
    **gradkwargs: Unpack[GradKwargs],
) -> Wrapped[Concatenate[A, P], tuple[A, Aux]]: ...
@public
def filter_grad(
    fun: Any = ..., *, has_aux: bool = False, wrt: PyTree = None, **gradkwargs: Any
) -> Any:
    """The gradient of a function by the inexact arrays of the first argument.

    **Arguments:** as `filter_value_and_grad`.

    **Returns:**

    A function of the same arguments that returns the gradient, or, with `has_aux`,
    `(gradient, aux)`.

    **Raises:** as `filter_value_and_grad`.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_grad

    gradient = filter_grad(lambda pair: jnp.sum(pair[0] * pair[1]))((jnp.ones(3), 2.0))
    assert gradient[0][0] == 2.0 and gradient[1] is None
    ```
    """
    return _wrap(fun, wrt, has_aux, False, gradkwargs)
