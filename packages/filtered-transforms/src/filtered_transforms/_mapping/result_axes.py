"""Where the mapped axis stands in each array of a result, which only the trace can say."""

from itertools import compress
from typing import Any

import jax.tree_util as jtu

from filtered_transforms._filters.output_structure import Signature
from filtered_transforms._filters.predicates import array_mask

from .axes import axes_of


class ResultAxes:
    """The axes of a result, and all else about it, once the function has been traced.

    `out_axes` may hold functions of a leaf, so that axes are known when the function has returned;
    `jax.vmap` wants them before. It is given the list `axes`, which is empty then, and which
    `arrays_of` fills while `jax.vmap` traces the function. JAX flattens `out_axes` after the trace.

    Seen on JAX 0.7.2, 0.10.2 and 0.12: `test_jax_reads_out_axes_after_the_trace` fails where JAX
    reads the list earlier. Without the trick the function would be traced twice, or would have to
    move the axes itself, inside of `jax.vmap`, where it does not see them. It can go when
    `jax.vmap` takes a function of the result as `out_axes`.

    One instance serves one trace.
    """

    __slots__ = ("axes", "signature", "spec")

    signature: Signature

    def __init__(self, spec: Any):
        self.spec = spec
        self.axes: list[int | None] = []

    def arrays_of(self, out: Any) -> list[Any]:
        """What goes through `jax.vmap` of a result: its arrays, and what has an axis."""
        leaves, treedef = jtu.tree_flatten(out)
        axes = axes_of(self.spec, out, leaves, "out_axes")
        through = [
            axis is not None or array for axis, array in zip(axes, array_mask(leaves), strict=True)
        ]
        self.axes[:] = compress(axes, through)
        self.signature = Signature(treedef, leaves, through)
        return list(compress(leaves, through))
