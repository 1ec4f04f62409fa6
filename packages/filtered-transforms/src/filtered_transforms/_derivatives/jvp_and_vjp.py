"""Products with the Jacobian: `filter_jvp` and `filter_vjp`."""

from collections.abc import Callable
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.custom_derivatives import SymbolicZero

from filtered_transforms._filters.output_structure import sign
from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.predicates import is_inexact_array_like
from filtered_transforms._types import Aux, PullbackOf, PyTree, R, Ts
from pytree_module import Module, field
from tree_surgery.extend import public

from .inexact_function import InexactInputs, InexactOutputs, pair


def _watched(arrays: list[Any], token: Any, is_zero: list[bool]) -> list[Any]:
    """`arrays`; appends to `is_zero` whether each tangent is a symbolic zero.

    It observes the derivative in which `token` has a tangent. Without `token`, JAX would call the
    rule for an enclosing derivative if all tangents of this one are zero.

    `jax.jvp` instantiates symbolic zeros; only a `jax.custom_jvp` rule sees them. JAX must run that
    rule in the trace of `jax.jvp`, as 0.7.2, 0.10.2 and 0.12 do. If it does not,
    `test_jvp_tells_what_does_not_move` fails, and so does its variant within another derivative.
    This can go when `jax.jvp` returns symbolic zeros.
    """

    @jax.custom_jvp
    def look(arrays: list[Any], token: Any) -> list[Any]:
        return arrays

    def rule(primals: Any, tangents: Any) -> Any:
        is_zero.extend(isinstance(tangent, SymbolicZero) for tangent in tangents[0])
        return primals[0], tangents[0]

    look.defjvp(rule, symbolic_zeros=True)
    return look(arrays, token)


_TANGENTS = (
    "primals and tangents must have the same pytree structure, with `None` for the leaves without "
    "a tangent."
)
_COTANGENT = (
    "The cotangent must have the structure of the result of the function, with `None` for what "
    "has no gradient."
)


def _fitting(treedef: Any, tree: Any, expected: str) -> list[Any]:
    """For each leaf of `treedef`, the leaf of `tree` or `None`."""
    try:
        leaves = treedef.flatten_up_to(tree)
        if not jtu.all_leaves([leaf for leaf in leaves if leaf is not None]):
            raise ValueError("There is a tree in the place of a leaf.")
    except ValueError as error:
        raise ValueError(f"{expected} {error}") from None
    return leaves


@public
def filter_jvp(
    fn: Callable[..., R],
    primals: tuple[Any, ...] | list[Any],
    tangents: tuple[Any, ...] | list[Any],
    **kwargs: PyTree,
) -> tuple[R, R]:
    """The value of a function, and its derivative in the direction of `tangents`.

    **Arguments:**

    - `fn`: any callable. What it closes over is not differentiated.
    - `primals`: its positional arguments, a tuple or list.
    - `tangents`: the direction; of the same structure, with `None` for each leaf that is not to be
        differentiated. Python numbers may have tangents too.
    - `**kwargs`: its keyword arguments, not differentiated.

    **Returns:**

    `(out, tangent_out)`, both of the structure of `fn(*primals, **kwargs)`. The tangent is `None`
    for each leaf that is not an inexact array, and for each that does not depend on what is
    differentiated.

    **Raises:** `ValueError` if `primals` and `tangents` have different structures.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jvp

    out, tangent = filter_jvp(lambda x, n: (x**n, n), (jnp.array(3.0), 2), (jnp.array(1.0), None))
    assert out == (9.0, 2) and tangent == (6.0, None)
    ```
    """
    primal_leaves, treedef = jtu.tree_flatten(tuple(primals))
    tangent_leaves = _fitting(treedef, tuple(tangents), _TANGENTS)
    mask = [tangent is not None for tangent in tangent_leaves]
    moving, still = split(primal_leaves, mask)
    seen: dict[str, Any] = {}

    def flat(token: Any, *moving: Any) -> list[Any]:
        out = fn(*treedef.unflatten(merge(mask, moving, still)), **kwargs)
        arrays, seen["signature"] = sign(out)
        seen["zero"] = []
        return _watched(arrays, token, seen["zero"])

    given = [tangent for tangent in tangent_leaves if tangent is not None]
    token = jnp.zeros(())
    arrays, derivatives = jax.jvp(flat, (token, *moving), (token, *given))
    signature = seen["signature"]
    inexact = [is_inexact_array_like(array) for array in arrays]  # a Python number goes through
    kept = [
        derivative if here and not zero else None
        for derivative, here, zero in zip(derivatives, inexact, seen["zero"], strict=True)
    ]
    tangent_out: list[Any] = [None] * signature.treedef.num_leaves
    for i, tangent in zip(signature.positions, kept, strict=True):
        tangent_out[i] = tangent
    return signature.result(arrays), signature.treedef.unflatten(tangent_out)


class Pullback(Module):
    """The pullback that `filter_vjp` returns."""

    __scope__ = None  # its calls are not a layer

    _vjp: Any
    _shapes: tuple[Any, ...] = field(static=True)
    _inputs: tuple[Any, tuple[bool, ...]] = field(static=True)
    _outputs: tuple[Any, tuple[bool, ...]] = field(static=True)

    def __call__(self, cotangent: Any, /) -> tuple[Any, ...]:
        """The cotangents of the primals, for the cotangent of the result.

        `cotangent` has the structure of the result; `None` stands for zero, and is the only
        choice for leaves that are not inexact arrays.
        """
        treedef, mask = self._outputs
        leaves = _fitting(treedef, cotangent, _COTANGENT)
        given = [leaf for leaf, here in zip(leaves, mask, strict=True) if here]
        filled = [
            jnp.zeros(shape, dtype) if leaf is None else leaf
            for leaf, (shape, dtype) in zip(given, self._shapes, strict=True)
        ]
        (found,) = self._vjp(filled)
        in_treedef, in_mask = self._inputs
        nothing = [None] * (len(in_mask) - len(found))
        return in_treedef.unflatten(merge(list(in_mask), found, nothing))


@overload
def filter_vjp(
    fun: Callable[[*Ts], R], *primals: *Ts, has_aux: Literal[False] = False
) -> tuple[R, PullbackOf[tuple[*Ts]]]: ...
@overload
def filter_vjp(
    fun: Callable[[*Ts], tuple[R, Aux]], *primals: *Ts, has_aux: Literal[True]
) -> tuple[R, PullbackOf[tuple[*Ts]], Aux]: ...
@public
def filter_vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of a function, and its pullback from cotangents of the result to the arguments.

    **Arguments:**

    - `fun`: any callable. What it closes over is not differentiated.
    - `*primals`: its arguments; their inexact arrays are differentiated.
    - `has_aux`: `fun` returns a pair, of the value and of anything else.

    **Returns:**

    `(out, vjp_fn)`, or, with `has_aux`, `(out, vjp_fn, aux)`. `vjp_fn(cotangent)` returns a tuple,
    one cotangent for each of `primals`, with `None` for each leaf that is not an inexact array.
    `vjp_fn` is a PyTree.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_vjp

    out, vjp_fn = filter_vjp(lambda x, name: (x**2, name), jnp.array(3.0), "square")
    assert out == (9.0, "square") and vjp_fn((jnp.array(1.0), None)) == (6.0, None)
    ```
    """
    inputs, outputs = InexactInputs(primals), InexactOutputs()

    def flat(arrays: list[Any]) -> Any:
        out = fun(*inputs.tree(arrays))
        aux: list[Any] = []
        if has_aux:
            out, aux_tree = pair(out)
            aux = outputs.keep_aux(aux_tree)
        inexact, kept = outputs.split(out)
        return inexact, (kept, aux)

    inexact, pull, (kept, aux) = jax.vjp(flat, inputs.arrays, has_aux=True)
    pullback = Pullback(
        pull,
        tuple((array.shape, array.dtype) for array in map(jnp.asarray, inexact)),
        (inputs.treedef, tuple(inputs.mask)),
        (outputs.out.treedef, tuple(outputs.mask)),
    )
    out = outputs.join(inexact, kept)
    return (out, pullback, outputs.aux.result(aux)) if has_aux else (out, pullback)


@public
def filter_linearize(fun: Callable[[*Ts], R], *primals: *Ts) -> tuple[R, Callable[..., R]]:
    """The value of a function, and its linearisation: a function of tangents.

    The function is differentiated once; each call of the result costs one linear map.

    **Arguments:**

    - `fun`: any callable. What it closes over is not differentiated.
    - `*primals`: its arguments; their inexact arrays are differentiated.

    **Returns:**

    `(out, jvp_fn)`. `jvp_fn(*tangents)` takes one tangent for each of `primals`, where `None`
    stands for zero, and returns that of the result, `None` for leaves that are not inexact arrays.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_linearize

    out, jvp_fn = filter_linearize(lambda x, n: x**n, jnp.array(3.0), 2)
    assert out == 9.0 and jvp_fn(jnp.array(2.0), None) == 12.0
    ```
    """
    function: Any = fun  # called with other arrays
    inputs, outputs = InexactInputs(primals), InexactOutputs()
    found: dict[str, Any] = {}

    def flat(arrays: list[Any]) -> Any:
        inexact, kept = outputs.split(function(*inputs.tree(arrays)))
        found["count"] = len(inexact)
        return [*inexact, *kept]

    arrays, push = jax.linearize(flat, inputs.arrays)
    inexact, kept = arrays[: found["count"]], arrays[found["count"] :]

    def jvp_fn(*tangents: Any) -> Any:
        leaves = _fitting(inputs.treedef, tangents, _TANGENTS)
        given = [leaf for leaf, here in zip(leaves, inputs.mask, strict=True) if here]
        filled = [
            jnp.zeros_like(array) if leaf is None else leaf
            for leaf, array in zip(given, inputs.arrays, strict=True)
        ]
        return outputs.derivative(push(filled)[: found["count"]])

    return outputs.join(inexact, kept), jvp_fn
