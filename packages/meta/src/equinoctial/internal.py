"""For authors of libraries: what extends the system.

The names are those that Equinox has in `equinox.internal`, as far as they exist here, and those of
`filtered_transforms.extend`, where they are documented, with the same promise of stability as the
rest.
"""

from filtered_transforms.extend import AbstractProgressMeter as AbstractProgressMeter
from filtered_transforms.extend import Carried as Carried
from filtered_transforms.extend import ClosureConverted as ClosureConverted
from filtered_transforms.extend import ContainerMeta as ContainerMeta
from filtered_transforms.extend import GetKey as GetKey
from filtered_transforms.extend import MaybeBuffer as MaybeBuffer
from filtered_transforms.extend import NoProgressMeter as NoProgressMeter
from filtered_transforms.extend import TextProgressMeter as TextProgressMeter
from filtered_transforms.extend import TqdmProgressMeter as TqdmProgressMeter
from filtered_transforms.extend import buffer_at_set as buffer_at_set
from filtered_transforms.extend import cached_filter_eval_shape as cached_filter_eval_shape
from filtered_transforms.extend import closure_to_pytree as closure_to_pytree
from filtered_transforms.extend import create_vprim as create_vprim
from filtered_transforms.extend import default_floating_dtype as default_floating_dtype
from filtered_transforms.extend import doc_remove_args as doc_remove_args
from filtered_transforms.extend import doc_repr as doc_repr
from filtered_transforms.extend import eval_empty as eval_empty
from filtered_transforms.extend import eval_zero as eval_zero
from filtered_transforms.extend import filter_primitive_batching as filter_primitive_batching
from filtered_transforms.extend import filter_primitive_bind as filter_primitive_bind
from filtered_transforms.extend import filter_primitive_def as filter_primitive_def
from filtered_transforms.extend import filter_primitive_jvp as filter_primitive_jvp
from filtered_transforms.extend import filter_primitive_transpose as filter_primitive_transpose
from filtered_transforms.extend import finalise_eval_jaxpr as finalise_eval_jaxpr
from filtered_transforms.extend import finalise_fn as finalise_fn
from filtered_transforms.extend import finalise_jaxpr as finalise_jaxpr
from filtered_transforms.extend import finalise_jaxpr_as_fn as finalise_jaxpr_as_fn
from filtered_transforms.extend import finalise_make_jaxpr as finalise_make_jaxpr
from filtered_transforms.extend import hashable_combine as hashable_combine
from filtered_transforms.extend import hashable_partition as hashable_partition
from filtered_transforms.extend import left_broadcast_to as left_broadcast_to
from filtered_transforms.extend import materialise_zeros as materialise_zeros
from filtered_transforms.extend import maybe_set_p as maybe_set_p
from filtered_transforms.extend import nan_like as nan_like
from filtered_transforms.extend import nextafter as nextafter
from filtered_transforms.extend import noinline as noinline
from filtered_transforms.extend import noinline_p as noinline_p
from filtered_transforms.extend import nonbatchable as nonbatchable
from filtered_transforms.extend import nonbatchable_p as nonbatchable_p
from filtered_transforms.extend import nondifferentiable as nondifferentiable
from filtered_transforms.extend import nondifferentiable_backward as nondifferentiable_backward
from filtered_transforms.extend import nondifferentiable_backward_p as nondifferentiable_backward_p
from filtered_transforms.extend import nontraceable as nontraceable
from filtered_transforms.extend import nontraceable_p as nontraceable_p
from filtered_transforms.extend import observe_traces as observe_traces
from filtered_transforms.extend import prevbefore as prevbefore
from filtered_transforms.extend import primitive_finalisations as primitive_finalisations
from filtered_transforms.extend import register_check as register_check
from filtered_transforms.extend import register_impl_finalisation as register_impl_finalisation
from filtered_transforms.extend import scan as scan
from filtered_transforms.extend import scan_trick as scan_trick
from filtered_transforms.extend import select_if_vmap_p as select_if_vmap_p
from filtered_transforms.extend import set_raise_if as set_raise_if
from filtered_transforms.extend import str2jax as str2jax
from filtered_transforms.extend import to_onnx as to_onnx
from filtered_transforms.extend import unvmap_all as unvmap_all
from filtered_transforms.extend import unvmap_all_p as unvmap_all_p
from filtered_transforms.extend import unvmap_any as unvmap_any
from filtered_transforms.extend import unvmap_any_p as unvmap_any_p
from filtered_transforms.extend import unvmap_max as unvmap_max
from filtered_transforms.extend import unvmap_max_p as unvmap_max_p
from filtered_transforms.extend import unvmap_min as unvmap_min
from filtered_transforms.extend import unvmap_min_p as unvmap_min_p
from filtered_transforms.extend import while_loop as while_loop
from filtered_transforms.extend import ω as ω
from pytree_module import AbstractClassVar as AbstractClassVar
from pytree_module import AbstractVar as AbstractVar
from pytree_module import Static as Static
from runtime_checks import Enumeration as Enumeration
from runtime_checks import branched_error_if as branched_error_if
from runtime_checks import error_if as error_if
from runtime_checks.debug import announce_jaxpr_p as announce_jaxpr_p
from runtime_checks.debug import announce_transform as announce_transform
from runtime_checks.debug import assert_dce as assert_dce
from runtime_checks.debug import backward_nan as debug_backward_nan
from runtime_checks.debug import breakpoint_if as breakpoint_if
from runtime_checks.debug import inspect_dce as inspect_dce
from runtime_checks.debug import store_dce as store_dce
from tree_surgery import TreeWLCustom as TreeWLCustom

__all__ = [
    "AbstractClassVar",
    "AbstractProgressMeter",
    "AbstractVar",
    "Carried",
    "ClosureConverted",
    "ContainerMeta",
    "Enumeration",
    "GetKey",
    "MaybeBuffer",
    "NoProgressMeter",
    "Static",
    "TextProgressMeter",
    "TqdmProgressMeter",
    "TreeWLCustom",
    "announce_jaxpr_p",
    "announce_transform",
    "assert_dce",
    "branched_error_if",
    "breakpoint_if",
    "buffer_at_set",
    "cached_filter_eval_shape",
    "closure_to_pytree",
    "create_vprim",
    "debug_backward_nan",
    "default_floating_dtype",
    "doc_remove_args",
    "doc_repr",
    "error_if",
    "eval_empty",
    "eval_zero",
    "filter_primitive_batching",
    "filter_primitive_bind",
    "filter_primitive_def",
    "filter_primitive_jvp",
    "filter_primitive_transpose",
    "finalise_eval_jaxpr",
    "finalise_fn",
    "finalise_jaxpr",
    "finalise_jaxpr_as_fn",
    "finalise_make_jaxpr",
    "hashable_combine",
    "hashable_partition",
    "inspect_dce",
    "left_broadcast_to",
    "materialise_zeros",
    "maybe_set_p",
    "nan_like",
    "nextafter",
    "noinline",
    "noinline_p",
    "nonbatchable",
    "nonbatchable_p",
    "nondifferentiable",
    "nondifferentiable_backward",
    "nondifferentiable_backward_p",
    "nontraceable",
    "nontraceable_p",
    "observe_traces",
    "prevbefore",
    "primitive_finalisations",
    "register_check",
    "register_impl_finalisation",
    "scan",
    "scan_trick",
    "select_if_vmap_p",
    "set_raise_if",
    "store_dce",
    "str2jax",
    "to_onnx",
    "unvmap_all",
    "unvmap_all_p",
    "unvmap_any",
    "unvmap_any_p",
    "unvmap_max",
    "unvmap_max_p",
    "unvmap_min",
    "unvmap_min_p",
    "while_loop",
    "ω",
]
