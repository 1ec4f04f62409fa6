"""`filter_closure_convert`: a function with all that it closes over as arrays of a tree."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from pytree_module import Module
from tree_surgery import path_str

from ._agree import describe, first_difference
from ._eval_shape import abstract_mask
from ._jax import evaluate
from ._partition import merge, split
from ._signature import Signature, sign
from ._static_leaf import same_value


class _Program:
    # What was traced. A leaf, equal to itself alone: of two conversions of one function, what is
    # no array can be exchanged by `partition` and `combine`.

    def __init__(self, jaxpr: Any, expected: "_Expected", signature: Signature):
        self.jaxpr = jaxpr
        self.expected = expected
        self.signature = signature

    def __repr__(self) -> str:
        return f"<program of {len(self.jaxpr.eqns)} equations>"


class ClosureConverted(Module):
    # A traced function: its program, and the arrays that it closed over, as leaves.

    consts: list[Any]
    program: _Program

    @property
    def in_struct(self) -> Any:
        """`(args, kwargs)` that it can be called with, a `jax.ShapeDtypeStruct` for each array."""
        return self.program.expected.call

    @property
    def out_struct(self) -> Any:
        """Its result, with a `jax.ShapeDtypeStruct` for each array."""
        avals = [atom.aval for atom in self.program.jaxpr.outvars]
        shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
        return self.program.signature.result(shapes)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        program = self.program
        arrays = program.expected.arrays((args, kwargs))
        return program.signature.result(evaluate(program.jaxpr, self.consts, arrays))


class _Expected:
    # What a converted function can be called with: the example arguments, with shapes for arrays.

    def __init__(self, call: Any, treedef: Any, leaves: list[Any], mask: list[bool]):
        self.call = call
        self.treedef = treedef
        self.mask = mask
        self.leaves = [
            jax.ShapeDtypeStruct(jnp.shape(leaf), leaf.dtype) if array else leaf
            for leaf, array in zip(leaves, mask, strict=True)
        ]

    def arrays(self, call: Any) -> list[Any]:
        """The arrays of a call.

        **Raises:** `ValueError` if it is another call than was converted.
        """
        leaves, treedef = jtu.tree_flatten(call)
        if treedef != self.treedef:
            path, old, new = first_difference(self.call, call) or ("<root>", self.call, call)
            raise ValueError(
                "Closure-converted function called with different arguments to the example "
                f"arguments provided: the structure is another. At {path} of `(args, kwargs)` it "
                f"was converted with {describe(old)}, and called with {describe(new)}."
            )
        mask = abstract_mask(leaves)
        for i, (old, new) in enumerate(zip(self.leaves, leaves, strict=True)):
            if self.mask[i]:
                # Of an array only these count: not where it is, nor whether its type is weak.
                fits = mask[i] and old.shape == jnp.shape(new) and old.dtype == new.dtype
            else:
                fits = not mask[i] and same_value(old, new)
            if not fits:
                kind = "dynamic" if self.mask[i] else "static"
                path = path_str(jtu.tree_leaves_with_path(call)[i][0])
                raise ValueError(
                    f"Closure-converted function called with different {kind} arguments to the "
                    f"example arguments provided. At {path} of `(args, kwargs)` it was converted "
                    f"with {describe(old)}, and called with {describe(new)}."
                )
        return split(leaves, mask)[0]


def filter_closure_convert(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A function as a PyTree: all arrays that it closes over, traced ones too, become its leaves.

    So they can be handed to a transformation, or to a custom derivative rule, by value.

    **Arguments:**

    - `fn`: any callable, itself possibly a PyTree.
    - `*args`, `**kwargs`: example arguments; a `jax.ShapeDtypeStruct` stands for an array.

    **Returns:**

    A function that can be called with arguments of the same structure, shapes and dtypes, and the
    same values where they are no arrays. Its leaves are the arrays, and the program. Its
    `in_struct` is `(args, kwargs)`, its `out_struct` the result, with a `jax.ShapeDtypeStruct` for
    each array.
    Inside of `jax.shard_map`, an example argument must vary over the same axes of the mesh as what
    it stands for.

    **Raises:** the result raises `ValueError` when it is called with other arguments, with the path
    and what it was converted with.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_closure_convert

    @jax.grad
    def gradient(w):
        times = filter_closure_convert(lambda x: x * w, jnp.array(1.0))
        return times(jnp.array(3.0))

    assert gradient(jnp.array(2.0)) == 3.0
    ```
    """
    if not callable(fn):
        raise TypeError(f"`filter_closure_convert` expects a function, got {fn!r}.")
    call = (args, kwargs)
    leaves, treedef = jtu.tree_flatten(call)
    mask = abstract_mask(leaves)
    arrays, others = split(leaves, mask)
    signature: Any = None

    def flat(*arrays: Any) -> list[Any]:
        nonlocal signature
        positional, named = treedef.unflatten(merge(mask, arrays, others))
        found, signature = sign(fn(*positional, **named))
        return found

    closed = jax.make_jaxpr(flat)(*arrays)
    shapes = _Expected(None, treedef, leaves, mask)
    shapes.call = treedef.unflatten(shapes.leaves)
    return ClosureConverted(list(closed.consts), _Program(closed.jaxpr, shapes, signature))
