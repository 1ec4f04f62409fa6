"""JAX transformations for any PyTree: arrays are transformed, the rest is static."""

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names
from tree_surgery.extend import moved_names as _moved_names

__version__ = "0.1.0"

# Checkers find `extend` as a file. Were it imported here, `equinoctial` would seem to have it too.
if _typing.TYPE_CHECKING:
    from ._clear_caches import clear_caches as clear_caches
    from ._control_flow.branches import filter_cond as filter_cond
    from ._control_flow.branches import filter_switch as filter_switch
    from ._control_flow.filter_fori_loop import filter_fori_loop as filter_fori_loop
    from ._control_flow.filter_scan import filter_scan as filter_scan
    from ._control_flow.filter_while_loop import filter_while_loop as filter_while_loop
    from ._control_flow.maps import filter_associative_scan as filter_associative_scan
    from ._control_flow.maps import filter_map as filter_map
    from ._derivatives.checkpoint import filter_checkpoint as filter_checkpoint
    from ._derivatives.custom_jvp import filter_custom_jvp as filter_custom_jvp
    from ._derivatives.custom_vjp import filter_custom_vjp as filter_custom_vjp
    from ._derivatives.grad import filter_grad as filter_grad
    from ._derivatives.grad import filter_value_and_grad as filter_value_and_grad
    from ._derivatives.hvp import filter_hvp as filter_hvp
    from ._derivatives.jacobian import filter_hessian as filter_hessian
    from ._derivatives.jacobian import filter_jacfwd as filter_jacfwd
    from ._derivatives.jacobian import filter_jacrev as filter_jacrev
    from ._derivatives.jvp_and_vjp import filter_jvp as filter_jvp
    from ._derivatives.jvp_and_vjp import filter_linearize as filter_linearize
    from ._derivatives.jvp_and_vjp import filter_vjp as filter_vjp
    from ._filters.eval_shape import filter_eval_shape as filter_eval_shape
    from ._filters.if_array import if_array as if_array
    from ._filters.partition import combine as combine
    from ._filters.partition import filter as filter
    from ._filters.partition import partition as partition
    from ._filters.predicates import is_array as is_array
    from ._filters.predicates import is_array_like as is_array_like
    from ._filters.predicates import is_inexact_array as is_inexact_array
    from ._filters.predicates import is_inexact_array_like as is_inexact_array_like
    from ._jit.filter_jit import filter_jit as filter_jit
    from ._mapping.pmap import filter_pmap as filter_pmap
    from ._mapping.shard_map import filter_shard_map as filter_shard_map
    from ._mapping.vmap import filter_vmap as filter_vmap
    from ._placement.shard import filter_device_put as filter_device_put
    from ._placement.shard import filter_shard as filter_shard
    from ._reverse_loops.library_loops import scan as scan
    from ._reverse_loops.library_loops import while_loop as while_loop
    from ._tracing.closure_convert import filter_closure_convert as filter_closure_convert
    from ._tracing.make_jaxpr import filter_make_jaxpr as filter_make_jaxpr
    from ._tracing.pure_callback import filter_pure_callback as filter_pure_callback
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "._clear_caches": "clear_caches",
            "._control_flow.branches": "filter_cond, filter_switch",
            "._control_flow.filter_fori_loop": "filter_fori_loop",
            "._control_flow.filter_scan": "filter_scan",
            "._control_flow.filter_while_loop": "filter_while_loop",
            "._control_flow.maps": "filter_associative_scan, filter_map",
            "._derivatives.checkpoint": "filter_checkpoint",
            "._derivatives.custom_jvp": "filter_custom_jvp",
            "._derivatives.custom_vjp": "filter_custom_vjp",
            "._derivatives.grad": "filter_grad, filter_value_and_grad",
            "._derivatives.hvp": "filter_hvp",
            "._derivatives.jacobian": "filter_hessian, filter_jacfwd, filter_jacrev",
            "._derivatives.jvp_and_vjp": "filter_jvp, filter_linearize, filter_vjp",
            "._filters.eval_shape": "filter_eval_shape",
            "._filters.if_array": "if_array",
            "._filters.partition": "combine, filter, partition",
            "._filters.predicates": (
                "is_array, is_array_like, is_inexact_array, is_inexact_array_like"
            ),
            "._jit.filter_jit": "filter_jit",
            "._mapping.pmap": "filter_pmap",
            "._mapping.shard_map": "filter_shard_map",
            "._mapping.vmap": "filter_vmap",
            "._placement.shard": "filter_device_put, filter_shard",
            "._reverse_loops.library_loops": "scan, while_loop",
            "._tracing.closure_convert": "filter_closure_convert",
            "._tracing.make_jaxpr": "filter_make_jaxpr",
            "._tracing.pure_callback": "filter_pure_callback",
            ".extend": "",
        },
    )

# Of `_moved.py`, which is imported when an old pickle is read. Until 0.2.0.
_moved_names(
    __name__,
    "_axes _closure _grad _jacobian _jvp _options _pmap _progress _staging _vmap",
)
