"""`filter_custom_vjp`: a function with a custom reverse-mode derivative."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.predicates import array_mask, inexact_mask, is_inexact_array
from filtered_transforms._filters.static_nodes import Held, hold, release
from filtered_transforms._filters.structure_errors import describe
from filtered_transforms._jax.operands import as_array
from filtered_transforms._types import P, PyTree, R
from tree_surgery.extend import public

from .custom_rule import CustomRule, or_none, zeros_of

_CLOSED_OVER = (
    "the backward rule of `filter_custom_vjp`, {bwd!r}, uses a value that is being differentiated "
    "and is not among its arguments: it closes over it, or found it in a global. When the rule "
    "runs, that differentiation is over. Return the value from the forward rule as a residual, or "
    "pass it to the function as an argument."
)


_Rule = TypeVar("_Rule", bound=Callable[..., Any])


@public
class filter_custom_vjp(CustomRule[P, R]):
    """A function whose gradient you give: `jax.custom_vjp` with any PyTrees.

    Only the first argument, `vjp_arg`, can be differentiated.

    **Arguments:**

    - `fn`: the function, `(vjp_arg, *args, **kwargs) -> out`; all may hold anything.

    Two rules are needed, set by methods that can decorate them:

    - `def_fwd`: `fwd(perturbed, vjp_arg, *args, **kwargs) -> (out, residuals)`. `perturbed` is a
        tree like `vjp_arg` that says for each leaf whether it is being differentiated. `residuals`
        is any PyTree, for the other rule.
    - `def_bwd`: `bwd(residuals, grad_out, perturbed, vjp_arg, *args, **kwargs) -> grad`. `grad_out`
        is a tree like `out`, with `None` for each leaf that is not an inexact array, and for each
        whose cotangent is zero (a symbolic zero). `grad` is a tree like `vjp_arg`, with `None` for
        leaves that are not inexact arrays; `None` for an inexact array stands for zero.

    **Raises:** a call raises `RuntimeError` as long as a rule is missing, if an argument other than
    `vjp_arg` is being differentiated, if the backward rule closes over a value that is, and if
    `grad` has another structure.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_custom_vjp

    @filter_custom_vjp
    def clip_gradient(x, bound):
        return x

    @clip_gradient.def_fwd
    def fwd(perturbed, x, bound):
        return x, None

    @clip_gradient.def_bwd
    def bwd(residuals, grad_out, perturbed, x, bound):
        return jnp.clip(grad_out, -bound, bound)

    assert jax.grad(lambda x: 10 * clip_gradient(x, 2.0))(1.0) == 2.0
    ```
    """

    def __init__(self, fn: Callable[P, R]):
        super().__init__(fn)
        self.fn_fwd: Callable[..., Any] | None = None
        self.fn_bwd: Callable[..., Any] | None = None

    def def_fwd(self, fn_fwd: _Rule) -> _Rule:
        """Sets the forward rule, and returns it."""
        self.fn_fwd = fn_fwd
        return fn_fwd

    def def_bwd(self, fn_bwd: _Rule) -> _Rule:
        """Sets the backward rule, and returns it."""
        self.fn_bwd = fn_bwd
        return fn_bwd

    def defvjp(self, fn_fwd: Callable[..., Any], fn_bwd: Callable[..., Any]) -> None:
        """Sets both rules in their former form, without `perturbed` and symbolic zeros.

        `fwd(vjp_arg, *args, **kwargs)`, `bwd(residuals, grad_out, vjp_arg, *args, **kwargs)`, where
        `grad_out` has an array for each inexact array.
        """
        warnings.warn(
            "`filter_custom_vjp.defvjp` is the former way: `def_fwd` and `def_bwd` know which "
            "arguments are differentiated and which cotangents are zero.",
            stacklevel=2,
        )

        def fwd(perturbed: Any, vjp_arg: Any, *args: Any, **kwargs: Any) -> Any:
            out, residuals = fn_fwd(vjp_arg, *args, **kwargs)
            leaves, treedef = jtu.tree_flatten(out)
            zeros = [zeros_of(leaf) if is_inexact_array(leaf) else None for leaf in leaves]
            return out, (residuals, treedef.unflatten(zeros))

        def bwd(kept: Any, grad_out: Any, perturbed: Any, *args: Any, **kwargs: Any) -> Any:
            residuals, zeros = kept
            filled = jtu.tree_map(lambda zero, g: zero if g is None else g, zeros, grad_out)
            return fn_bwd(residuals, filled, *args, **kwargs)

        self.def_fwd(fwd)
        self.def_bwd(bwd)

    def _call(self, vjp_arg: PyTree, /, *args: PyTree, **kwargs: PyTree) -> PyTree:
        """Calls the function."""
        fwd, bwd = self.fn_fwd, self.fn_bwd
        if fwd is None or bwd is None:
            raise RuntimeError(f"`def_fwd` or `def_bwd` not yet called for {self.fn!r}.")
        call, differentiated, rest = _Call.of(self.fn, vjp_arg, args, kwargs)

        # Each rule rebuilds the tree from the arrays that JAX passes to it. A rule must not
        # use arrays of the enclosing function: JAX runs the rule in another trace, where they leak.
        def flat(differentiated: list[Any], rest: list[Any]) -> Any:
            fn, vjp_arg, args, kwargs = call.tree(differentiated, rest)
            return hold(fn(vjp_arg, *args, **kwargs))

        def flat_fwd(differentiated: list[Any], rest: list[Any]) -> tuple[Any, Any]:
            if any(one.perturbed for one in rest):
                raise RuntimeError(
                    "Unexpected tangent. `*args` and `**kwargs` to `filter_custom_vjp` cannot be "
                    "autodifferentiated, nor can the function itself: only the first argument is."
                )
            # Known in the forward trace only. The backward rule gets them as static residuals.
            flags = [one.perturbed for one in differentiated]
            values = [as_array(x.value) for x in differentiated], [as_array(x.value) for x in rest]
            _, vjp_arg, args, kwargs = call.tree(*values)
            found = fwd(call.derivative(flags, False), vjp_arg, *args, **kwargs)
            if not isinstance(found, tuple) or len(found) != 2:
                raise ValueError(
                    "the forward rule of `filter_custom_vjp` must return a pair `(out, "
                    f"residuals)`; got {describe(found)}."
                )
            out, residuals = found
            return hold(out), (hold(residuals), values, Held(tuple(flags)))

        def flat_bwd(kept: Any, cotangent: Any) -> tuple[Any, None]:
            residuals, values, flags = kept
            _, vjp_arg, args, kwargs = call.tree(*values)
            grad_out = _known(cotangent)
            perturbed = call.derivative(list(flags.value), False)
            try:
                found = bwd(release(residuals), grad_out, perturbed, vjp_arg, *args, **kwargs)
            except jax.errors.UnexpectedTracerError as error:
                raise RuntimeError(_CLOSED_OVER.format(bwd=bwd)) from error
            return call.gradients(found), None

        custom = jax.custom_vjp(flat)
        # Without symbolic zeros JAX would pass arrays of zeros, which rules cannot recognise.
        custom.defvjp(flat_fwd, flat_bwd, symbolic_zeros=True)
        return release(custom(differentiated, rest))

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    else:
        __call__ = _call


class _Call(NamedTuple):
    """The arguments of one call, without their arrays.

    The rules hold it, and live as long as the program that contains the call. A tracer must not
    outlive its trace.
    """

    first: Any
    mask: list[bool]
    treedef: Any
    is_array: list[bool]
    static: list[Any]

    @classmethod
    def of(
        cls, fn: Any, vjp_arg: Any, args: Any, kwargs: Any
    ) -> tuple["_Call", list[Any], list[Any]]:
        """The `_Call`, the inexact arrays of the first argument, and all other arrays."""
        leaves, first = jtu.tree_flatten(vjp_arg)
        mask = inexact_mask(leaves)
        differentiated, others = split(leaves, mask)
        remaining, treedef = jtu.tree_flatten((fn, others, args, kwargs))
        is_array = array_mask(remaining)
        rest, static = split(remaining, is_array)
        return cls(first, mask, treedef, is_array, static), differentiated, rest

    def tree(self, differentiated: list[Any], rest: list[Any]) -> tuple[Any, Any, Any, Any]:
        """`(fn, vjp_arg, args, kwargs)` with these arrays."""
        remaining = merge(self.is_array, rest, self.static)
        fn, others, args, kwargs = self.treedef.unflatten(remaining)
        vjp_arg = self.first.unflatten(merge(self.mask, differentiated, others))
        return fn, vjp_arg, args, kwargs

    def derivative(self, values: list[Any], other: Any) -> Any:
        """A tree like `vjp_arg` with these values for its inexact arrays, and `other` elsewhere."""
        others = [other] * self.mask.count(False)
        return self.first.unflatten(merge(self.mask, values, others))

    def gradients(self, found: Any) -> list[Any]:
        """The gradients that a rule has returned, `None` for zero.

        **Raises:** `RuntimeError` if their structure is wrong, or if another leaf has a gradient.
        """
        try:
            leaves = self.first.flatten_up_to(found)
            if not jtu.all_leaves([leaf for leaf in leaves if leaf is not None]):
                raise ValueError("There is a tree in the place of a leaf.")
        except ValueError as error:
            raise RuntimeError(
                "custom_vjp gradients must have the same structure as the first argument of the "
                "`filter_custom_vjp` function, with `None` for leaves that are not inexact arrays. "
                f"{error}"
            ) from None
        gradients, others = split(leaves, self.mask)
        if any(other is not None for other in others):
            raise RuntimeError(
                "custom_vjp gradients must have the same structure as the first argument of the "
                "`filter_custom_vjp` function, with `None` for leaves that are not inexact arrays: "
                "there is a gradient for such a leaf."
            )
        return gradients


def _known(cotangent: Any) -> Any:
    """A held tree of cotangents, with `None` for symbolic zeros and for all other leaves."""
    leaves, treedef = jtu.tree_flatten(cotangent, is_leaf=lambda x: x.__class__ is Held)
    return treedef.unflatten([None if leaf.__class__ is Held else or_none(leaf) for leaf in leaves])
