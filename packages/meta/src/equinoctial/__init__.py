"""Models as PyTrees, filtered transformations, PyTree surgery, layers and run-time errors for JAX.

Everything here is defined in one of the distributions `tree_surgery`, `pytree_module`,
`filtered_transforms`, `runtime_checks` and `nn_layers`, and is the same object there.
"""

from filtered_transforms import clear_caches as clear_caches
from filtered_transforms import combine as combine
from filtered_transforms import filter as filter
from filtered_transforms import filter_associative_scan as filter_associative_scan
from filtered_transforms import filter_checkpoint as filter_checkpoint
from filtered_transforms import filter_closure_convert as filter_closure_convert
from filtered_transforms import filter_cond as filter_cond
from filtered_transforms import filter_custom_jvp as filter_custom_jvp
from filtered_transforms import filter_custom_vjp as filter_custom_vjp
from filtered_transforms import filter_eval_shape as filter_eval_shape
from filtered_transforms import filter_fori_loop as filter_fori_loop
from filtered_transforms import filter_grad as filter_grad
from filtered_transforms import filter_hessian as filter_hessian
from filtered_transforms import filter_hvp as filter_hvp
from filtered_transforms import filter_jacfwd as filter_jacfwd
from filtered_transforms import filter_jacrev as filter_jacrev
from filtered_transforms import filter_jit as filter_jit
from filtered_transforms import filter_jvp as filter_jvp
from filtered_transforms import filter_linearize as filter_linearize
from filtered_transforms import filter_make_jaxpr as filter_make_jaxpr
from filtered_transforms import filter_map as filter_map
from filtered_transforms import filter_pmap as filter_pmap
from filtered_transforms import filter_pure_callback as filter_pure_callback
from filtered_transforms import filter_scan as filter_scan
from filtered_transforms import filter_shard as filter_shard
from filtered_transforms import filter_switch as filter_switch
from filtered_transforms import filter_value_and_grad as filter_value_and_grad
from filtered_transforms import filter_vjp as filter_vjp
from filtered_transforms import filter_vmap as filter_vmap
from filtered_transforms import filter_while_loop as filter_while_loop
from filtered_transforms import if_array as if_array
from filtered_transforms import is_array as is_array
from filtered_transforms import is_array_like as is_array_like
from filtered_transforms import is_inexact_array as is_inexact_array
from filtered_transforms import is_inexact_array_like as is_inexact_array_like
from filtered_transforms import partition as partition
from filtered_transforms import scan as scan
from filtered_transforms import while_loop as while_loop
from nn_layers import tree_inference as tree_inference
from pytree_module import AbstractClassVar as AbstractClassVar
from pytree_module import AbstractVar as AbstractVar
from pytree_module import BoundMethod as BoundMethod
from pytree_module import Module as Module
from pytree_module import Partial as Partial
from pytree_module import Static as Static
from pytree_module import StrictConfig as StrictConfig
from pytree_module import field as field
from pytree_module import module_from_fields as module_from_fields
from pytree_module import module_update_wrapper as module_update_wrapper
from pytree_module import static_field as static_field
from runtime_checks import Enumeration as Enumeration
from runtime_checks import EnumerationItem as EnumerationItem
from runtime_checks import EquinoxRuntimeError as EquinoxRuntimeError
from runtime_checks import EquinoxTracetimeError as EquinoxTracetimeError
from runtime_checks import branched_error_if as branched_error_if
from runtime_checks import check as check
from runtime_checks import checks as checks
from runtime_checks import error_if as error_if
from tree_surgery import Equality as Equality
from tree_surgery import FileInfo as FileInfo
from tree_surgery import Frozen as Frozen
from tree_surgery import Labels as Labels
from tree_surgery import LeafInfo as LeafInfo
from tree_surgery import LoadReport as LoadReport
from tree_surgery import Mismatch as Mismatch
from tree_surgery import Selector as Selector
from tree_surgery import SerialisableLeaf as SerialisableLeaf
from tree_surgery import SerialiseError as SerialiseError
from tree_surgery import Tied as Tied
from tree_surgery import TreeChange as TreeChange
from tree_surgery import TreeDiff as TreeDiff
from tree_surgery import TreeSize as TreeSize
from tree_surgery import TreeWLCustom as TreeWLCustom
from tree_surgery import WhereError as WhereError
from tree_surgery import apply_updates as apply_updates
from tree_surgery import at as at
from tree_surgery import default_deserialise_filter_spec as default_deserialise_filter_spec
from tree_surgery import default_serialise_filter_spec as default_serialise_filter_spec
from tree_surgery import find_shared as find_shared
from tree_surgery import freeze as freeze
from tree_surgery import from_state_dict as from_state_dict
from tree_surgery import load as load
from tree_surgery import load_state_dict as load_state_dict
from tree_surgery import path_str as path_str
from tree_surgery import peek as peek
from tree_surgery import save as save
from tree_surgery import tie as tie
from tree_surgery import to_state_dict as to_state_dict
from tree_surgery import trainable as trainable
from tree_surgery import tree_apply as tree_apply
from tree_surgery import tree_at as tree_at
from tree_surgery import tree_cast as tree_cast
from tree_surgery import tree_check as tree_check
from tree_surgery import tree_deserialise_leaves as tree_deserialise_leaves
from tree_surgery import tree_diff as tree_diff
from tree_surgery import tree_equal as tree_equal
from tree_surgery import tree_fingerprint as tree_fingerprint
from tree_surgery import tree_flatten_one_level as tree_flatten_one_level
from tree_surgery import tree_labels as tree_labels
from tree_surgery import tree_mask as tree_mask
from tree_surgery import tree_paths as tree_paths
from tree_surgery import tree_pformat as tree_pformat
from tree_surgery import tree_pprint as tree_pprint
from tree_surgery import tree_replace as tree_replace
from tree_surgery import tree_select as tree_select
from tree_surgery import tree_serialise_leaves as tree_serialise_leaves
from tree_surgery import tree_set as tree_set
from tree_surgery import tree_size as tree_size
from tree_surgery import tree_stack as tree_stack
from tree_surgery import tree_summary as tree_summary
from tree_surgery import tree_unstack as tree_unstack
from tree_surgery import unfreeze as unfreeze
from tree_surgery import untie as untie
from tree_surgery import where as where

from . import debug as debug
from . import internal as internal
from . import nn as nn

__version__ = "0.1.0"

__all__ = [
    "AbstractClassVar",
    "AbstractVar",
    "BoundMethod",
    "Enumeration",
    "EnumerationItem",
    "Equality",
    "EquinoxRuntimeError",
    "EquinoxTracetimeError",
    "FileInfo",
    "Frozen",
    "Labels",
    "LeafInfo",
    "LoadReport",
    "Mismatch",
    "Module",
    "Partial",
    "Selector",
    "SerialisableLeaf",
    "SerialiseError",
    "Static",
    "StrictConfig",
    "Tied",
    "TreeChange",
    "TreeDiff",
    "TreeSize",
    "TreeWLCustom",
    "WhereError",
    "apply_updates",
    "at",
    "branched_error_if",
    "check",
    "checks",
    "clear_caches",
    "combine",
    "debug",
    "default_deserialise_filter_spec",
    "default_serialise_filter_spec",
    "error_if",
    "field",
    "filter",
    "filter_associative_scan",
    "filter_checkpoint",
    "filter_closure_convert",
    "filter_cond",
    "filter_custom_jvp",
    "filter_custom_vjp",
    "filter_eval_shape",
    "filter_fori_loop",
    "filter_grad",
    "filter_hessian",
    "filter_hvp",
    "filter_jacfwd",
    "filter_jacrev",
    "filter_jit",
    "filter_jvp",
    "filter_linearize",
    "filter_make_jaxpr",
    "filter_map",
    "filter_pmap",
    "filter_pure_callback",
    "filter_scan",
    "filter_shard",
    "filter_switch",
    "filter_value_and_grad",
    "filter_vjp",
    "filter_vmap",
    "filter_while_loop",
    "find_shared",
    "freeze",
    "from_state_dict",
    "if_array",
    "internal",
    "is_array",
    "is_array_like",
    "is_inexact_array",
    "is_inexact_array_like",
    "load",
    "load_state_dict",
    "module_from_fields",
    "module_update_wrapper",
    "nn",
    "partition",
    "path_str",
    "peek",
    "save",
    "scan",
    "static_field",
    "tie",
    "to_state_dict",
    "trainable",
    "tree_apply",
    "tree_at",
    "tree_cast",
    "tree_check",
    "tree_deserialise_leaves",
    "tree_diff",
    "tree_equal",
    "tree_fingerprint",
    "tree_flatten_one_level",
    "tree_inference",
    "tree_labels",
    "tree_mask",
    "tree_paths",
    "tree_pformat",
    "tree_pprint",
    "tree_replace",
    "tree_select",
    "tree_serialise_leaves",
    "tree_set",
    "tree_size",
    "tree_stack",
    "tree_summary",
    "tree_unstack",
    "unfreeze",
    "untie",
    "where",
    "while_loop",
]
