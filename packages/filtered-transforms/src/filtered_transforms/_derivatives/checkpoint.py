"""`filter_checkpoint`: intermediate values of a function are recomputed for its gradient."""

from collections.abc import Callable
from typing import Any, overload

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.eval_shape import abstract_mask
from filtered_transforms._filters.output_structure import sign
from filtered_transforms._filters.partition import merge, split
from filtered_transforms._types import Decorator, P, R, Wrapped
from filtered_transforms._wrapper import Wrapper, decorate, module_of
from pytree_module import field
from tree_surgery.extend import public


class CheckpointWrapper(Wrapper):
    """What `filter_checkpoint` returns."""

    prevent_cse: bool = field(static=True)
    policy: Any = field(static=True)

    def __init__(self, fun: Any, prevent_cse: bool, policy: Any):
        self.fun = fun
        self.__module__ = module_of(fun)
        self.prevent_cse = prevent_cse
        self.policy = policy

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        leaves, treedef = jtu.tree_flatten((self.fun, args, kwargs))
        mask = abstract_mask(leaves)
        arrays, others = split(leaves, mask)
        signature: Any = None

        def flat(arrays: list[Any]) -> list[Any]:
            nonlocal signature
            fun, positional, named = treedef.unflatten(merge(mask, arrays, others))
            found, signature = sign(fun(*positional, **named))
            return found

        remat = jax.checkpoint(flat, prevent_cse=self.prevent_cse, policy=self.policy)
        found = remat(arrays)
        return signature.result(found)

    def __repr__(self) -> str:
        return f"filter_checkpoint({self.fun!r})"


Policy = Callable[..., bool]


@overload
def filter_checkpoint(*, prevent_cse: bool = True, policy: Policy | None = None) -> Decorator: ...
@overload
def filter_checkpoint(
    fun: Callable[P, R], *, prevent_cse: bool = True, policy: Policy | None = None
) -> Wrapped[P, R]: ...
@public
def filter_checkpoint(
    fun: Any = ...,
    *,
    prevent_cse: bool = True,
    policy: Policy | None = None,
) -> Any:
    """Saves memory: intermediate values of a function are recomputed for its gradient.

    **Arguments:**

    - `fun`: any callable, itself possibly a PyTree. Left out, a decorator is returned.
    - `prevent_cse`, `policy`: as for `jax.checkpoint`. `policy` says which values are saved
        nevertheless, such as one of `jax.checkpoint_policies`.

    **Returns:** a function that computes the same.

    **Raises:** `TypeError` if `policy` is not callable.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_checkpoint, filter_grad

    layer = filter_checkpoint(lambda x, activation: activation(x))
    assert filter_grad(lambda x: layer(x, jnp.square))(jnp.array(3.0)) == 6.0
    ```
    """

    if policy is not None and not callable(policy):
        raise TypeError(
            f"`filter_checkpoint`: `policy` must be a function, such as "
            f"`jax.checkpoint_policies.dots_saveable`, got {policy!r}."
        )

    def wrap(fun: Any) -> CheckpointWrapper:
        return CheckpointWrapper(fun, prevent_cse, policy)

    if fun is ...:
        return lambda fun: decorate(wrap, fun, "filter_checkpoint")
    return decorate(wrap, fun, "filter_checkpoint")
