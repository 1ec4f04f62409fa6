"""What of a layer is kept for its gradient, and what is computed again."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.tree_util as jtu

from filtered_transforms.extend import (
    InnerCall,
    all_jaxprs,
    equations,
    inner_programs,
    jaxpr_as_function,
    jaxpr_has_effects,
)

GATHERED = "gathered"
"""The name, as of `jax.ad_checkpoint.checkpoint_name`, of parameters that were gathered."""

Remat = bool | Literal["elementwise"] | Callable[..., Any]

# Computing these again costs less than writing down and reading what they return: what goes element
# by element, and the sums that stand between. The name of a primitive that is missing here, or new
# in JAX, costs memory only.
_ELEMENTWISE = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh broadcast_in_dim cbrt ceil
    clamp complex conj convert_element_type copy cos cosh div eq erf erf_inv erfc exp exp2
    expand_dims expm1 floor ge gt imag integer_pow is_finite le log log1p logistic lt max min
    mul ne neg not one_minus_square or pow real reduce_max reduce_min reduce_sum rem reshape
    round rsqrt select_n sign sin sinh sqrt square squeeze stop_gradient sub tan tanh
    transpose xor
"""
_ELEMENTWISE_NAMES = frozenset(_ELEMENTWISE.split())


def checked_remat(remat: Any) -> Any:
    if not isinstance(remat, bool) and remat != "elementwise" and not callable(remat):
        raise TypeError(
            f'`Stacked`: `remat` is "elementwise", a boolean or a policy of '
            f"`jax.checkpoint_policies`, got {remat!r}."
        )
    return remat


def rematerialised(step: Callable[..., Any], remat: Remat) -> Callable[..., Any]:
    """The body of a scan, which keeps for its gradient what `remat` says."""
    if remat is False:
        return step
    if remat == "elementwise":
        return _Elementwise(step)
    policy = None if remat is True else remat
    return jax.checkpoint(step, prevent_cse=False, policy=policy)


@dataclasses.dataclass(frozen=True)
class _Elementwise:
    """Keeps all but what is computed element by element, and sums.

    What is rematerialised is traced a second time, and a loop, a branch or an effect in it would
    run a second time. So it is looked at first: a function with one of these keeps everything.
    """

    step: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(self.step, return_shape=True)(*args)
        run: Any = jaxpr_as_function(closed)
        if not jaxpr_has_effects(closed) and _is_straight(closed):
            run = jax.checkpoint(run, prevent_cse=False, policy=_is_kept)
        elif _has_gathered(closed):
            run = jax.checkpoint(run, prevent_cse=False, policy=keep_all_but_gathered)
        return jtu.tree_unflatten(jtu.tree_structure(shapes), run(*jtu.tree_leaves(args)))


def _is_straight(jaxpr: Any) -> bool:
    """Whether all inner programs are plain calls: no loops, no branches."""
    return all(
        isinstance(inner_programs(equation), InnerCall)
        for inner in all_jaxprs(jaxpr)
        for equation in equations(inner)
        if equation.jaxprs
    )


def _has_gathered(jaxpr: Any) -> bool:
    """Whether parameters are gathered in it (`gather_where_used`)."""
    return any(
        equation.name == "reshard" for inner in all_jaxprs(jaxpr) for equation in equations(inner)
    )


def keep_all_but_gathered(primitive: Any, *_: Any, **params: Any) -> bool:
    """A policy of `jax.checkpoint`, by which gathered parameters are gathered again.

    An array before and after it gets its name are two: neither may be kept.
    """
    if primitive.name == "name":
        return params["name"] != GATHERED
    return primitive.name != "reshard"


def _is_kept(primitive: Any, *args: Any, **params: Any) -> bool:
    return primitive.name not in _ELEMENTWISE_NAMES and keep_all_but_gathered(
        primitive, *args, **params
    )
