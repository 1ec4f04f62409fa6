"""`filter_custom_jvp`: a function with a forward-mode derivative of its own."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.predicates import array_mask, is_inexact_array
from filtered_transforms._filters.static_nodes import hold, release
from filtered_transforms._filters.structure_errors import describe
from filtered_transforms._jax.operands import as_array
from filtered_transforms._types import P, R
from tree_surgery import path_str
from tree_surgery.extend import public

from .custom_rule import CustomRule, derivatives_like, or_none, zero_of, zeros_of

_RULE = "the rule of `filter_custom_jvp`"
_LIKE = "a pair `(out, tangent_out)`, where `tangent_out` is a tree like `out`"


_Rule = TypeVar("_Rule", bound=Callable[..., Any])


@public
class filter_custom_jvp(CustomRule[P, R]):
    """A function whose derivative you give: `jax.custom_jvp` with any PyTrees.

    **Arguments:**

    - `fn`: the function. Its arguments and its result may hold anything.

    The rule is set by `def_jvp`, which can decorate it:
    `rule(primals, tangents, **kwargs) -> (out, tangent_out)`. `primals` is the tuple of positional
    arguments, and `tangents` a tuple like it, with `None` for each non-array leaf, and for
    each that is not being differentiated (a symbolic zero). `tangent_out` is a tree like `out`, and
    may have `None` in the same sense, for a leaf or a subtree. Keyword arguments cannot be
    differentiated.

    **Raises:** a call raises `AttributeError` as long as there is no rule, and `ValueError` if a
    keyword argument is being differentiated, or if the rule returns what does not fit.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_custom_jvp

    @filter_custom_jvp
    def norm(x, name):
        return jnp.sqrt(jnp.sum(x**2)), name

    @norm.def_jvp
    def rule(primals, tangents):
        (x, name), (dx, _) = primals, tangents
        length = jnp.sqrt(jnp.sum(x**2))
        safe = jnp.where(length == 0, 1, length)
        return (length, name), (jnp.sum(x * dx) / safe, None)

    assert jax.grad(lambda x: norm(x, "x")[0])(jnp.zeros(2)).tolist() == [0.0, 0.0]
    ```
    """

    def __init__(self, fn: Callable[P, R]):
        super().__init__(fn)
        self.fn_jvp: Callable[..., Any] | None = None

    def def_jvp(self, fn_jvp: _Rule) -> _Rule:
        """Sets the rule, and returns it."""
        self.fn_jvp = fn_jvp
        return fn_jvp

    def defjvp(self, fn_jvp: _Rule) -> _Rule:
        """The same as `def_jvp`."""
        return self.def_jvp(fn_jvp)

    def defjvps(self, *a: Callable[..., Any] | None, **kw: Callable[..., Any] | None) -> None:
        """Sets the rule as a sum, with a function for each positional argument.

        Each is called as `(tangent, out, *args, **kwargs)`, returns its part of the tangent of the
        result, and may be `None` where there is none. An argument without a tangent is passed over;
        missing tangents within one are zeros.
        """
        if kw:
            raise TypeError(f"`defjvps` takes positional arguments only, got {', '.join(kw)}.")

        def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...], **kwargs: Any) -> Any:
            if len(a) != len(primals):
                raise TypeError(
                    f"`defjvps` was given {len(a)} functions, and {len(primals)} positional "
                    f"arguments came: it needs one for each, or `None`."
                )
            out = self.fn(*primals, **kwargs)
            leaves, treedef = jtu.tree_flatten(out)
            total: list[Any] = [None] * len(leaves)
            for part, primal, tangent in zip(a, primals, tangents, strict=True):
                if part is None or not jtu.tree_leaves(tangent):
                    continue
                found = part(_materialised(primal, tangent), out, *primals, **kwargs)
                added = derivatives_like(out, found, "a function given to `defjvps`", "its part")
                total = [_plus(x, y) for x, y in zip(total, added, strict=True)]
            return out, treedef.unflatten(total)

        self.def_jvp(rule)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function."""
        rule = self.fn_jvp
        if rule is None:
            raise AttributeError(
                f"No JVP defined for the `filter_custom_jvp` function {self.fn!r}: set one with "
                f"`.def_jvp`."
            )
        leaves, treedef = jtu.tree_flatten((self.fn, args, kwargs))
        mask = array_mask(leaves)
        arrays, others = split(leaves, mask)

        def flat(arrays: list[Any]) -> Any:
            values = [as_array(array) for array in arrays]
            fn, args, kwargs = treedef.unflatten(merge(mask, values, others))
            return hold(fn(*args, **kwargs))

        # Rebuilds the trees for the user's rule from the arrays that JAX passes. It must not use
        # `arrays`: JAX runs the rule in another trace.
        def flat_rule(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
            values = [as_array(primal) for primal in primals[0]]
            _, args, kwargs = treedef.unflatten(merge(mask, values, others))
            given = [or_none(tangent) for tangent in tangents[0]]
            derivative = treedef.unflatten(merge(mask, given, [None] * len(others)))
            _check_undifferentiated(derivative[0], derivative[2])
            found = rule(args, derivative[1], **kwargs)
            if not isinstance(found, tuple) or len(found) != 2:
                raise ValueError(f"{_RULE} must return {_LIKE}; got {describe(found)}.")
            return _held_pair(*found)

        custom = jax.custom_jvp(flat)
        custom.defjvp(flat_rule, symbolic_zeros=True)
        return release(custom(arrays))


def _materialised(primal: Any, tangent: Any) -> Any:
    leaves, treedef = jtu.tree_flatten(primal)
    found = treedef.flatten_up_to(tangent)
    return treedef.unflatten(
        [
            zeros_of(leaf) if one is None and is_inexact_array(leaf) else one
            for leaf, one in zip(leaves, found, strict=True)
        ]
    )


def _plus(x: Any, y: Any) -> Any:
    return y if x is None else x if y is None else x + y


def _check_undifferentiated(fn: Any, kwargs: Any) -> None:
    if jtu.tree_leaves(kwargs):
        path = path_str(jtu.tree_leaves_with_path(kwargs)[0][0])
        raise ValueError(
            f"Received keyword tangent: the keyword arguments of a `filter_custom_jvp` function "
            f"cannot be differentiated, and the one at {path} is. Pass it by position."
        )
    if jtu.tree_leaves(fn):
        path = path_str(jtu.tree_leaves_with_path(fn)[0][0])
        raise ValueError(
            f"the function in a `filter_custom_jvp` cannot be differentiated itself, and its leaf "
            f"at {path} is. Pass it as an argument."
        )


def _held_pair(out: Any, tangent_out: Any) -> tuple[Any, Any]:
    """The result and its tangent, for JAX."""
    tangents = derivatives_like(out, tangent_out, _RULE, _LIKE)
    leaves = jtu.tree_leaves(out)
    mask = array_mask(leaves)
    held = hold(out)
    for i, (leaf, tangent) in enumerate(zip(leaves, tangents, strict=True)):
        if tangent is not None and not mask[i]:
            path = path_str(jtu.tree_leaves_with_path(out)[i][0])
            raise ValueError(
                f"{_RULE} returned a tangent for a value that is not an array: at {path} the "
                f"result is {leaf!r}. It should be `None`."
            )
    # Non-array leaves are held, so the tangent has no leaf for them: JAX compares both structures.
    filled = [
        zero_of(leaf) if tangent is None else tangent
        for leaf, tangent, array in zip(leaves, tangents, mask, strict=True)
        if array
    ]
    return held, jtu.tree_structure(held).unflatten(filled)
