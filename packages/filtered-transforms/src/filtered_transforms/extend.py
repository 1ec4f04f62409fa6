"""For authors of libraries: what filtered transformations are made of.

- `hashable_partition`, `hashable_combine`: a tree as a list of arrays and a hashable rest.
- `register_check`, `Carried`: how a run-time check reaches `filter_jit`; `set_raise_if`: how the
  toolkit makes one.
- `observe_traces`: to be told what `filter_jit` traces.
- Primitives with any PyTrees for arguments and results: `filter_primitive_bind`, with rules made by
  `filter_primitive_def`, `filter_primitive_jvp`, `filter_primitive_transpose` and
  `filter_primitive_batching`; `create_vprim` defines one whole; `materialise_zeros`.
- Reductions over all examples of a `vmap`: `unvmap_any`, `unvmap_all`, `unvmap_max`, `unvmap_min`.
- What forbids a transformation: `nonbatchable`, `nondifferentiable`, `nondifferentiable_backward`,
  `nontraceable`.
- Loops whose kind a library leaves to its user: `while_loop`, `scan`, with the signatures and rules
  of Equinox's; users write `filter_while_loop`, `filter_scan`. `MaybeBuffer`, `buffer_at_set` for
  what they write to.
- Progress meters for any loop: `AbstractProgressMeter`, `NoProgressMeter`, `TextProgressMeter`,
  `TqdmProgressMeter`.
- Trials: `eval_zero`, `eval_empty`, `cached_filter_eval_shape`, `scan_trick`; `closure_to_pytree`;
  `ClosureConverted`, the class of what `filter_closure_convert` returns.
- Arithmetic: `ω`, `nextafter`, `prevbefore`, `nan_like`, `default_floating_dtype`,
  `left_broadcast_to`.
- Small things: `str2jax`, `doc_repr`, `doc_remove_args`, `GetKey`.
- Programs without the primitives of libraries: `finalise_fn`, `finalise_jaxpr` and others.

The names that end in `_p` are the primitives themselves.
- Interpreters of jaxprs, which hide how the JAX at hand writes them: `Interpreter`, with rules for
  some equations; `equations`, `Equation`, `is_literal`, `is_dropped`, `jaxpr_input_types`,
  `jaxpr_output_types`, `jaxpr_results`, `jaxpr_has_effects`, to read a jaxpr; `inner_programs`,
  `all_jaxprs`, for what is within its equations (`InnerPrograms`: `InnerCall`, `InnerScan`,
  `InnerWhile`, `InnerCond`, `InnerLinearSolve`, `InnerShardMap`); `retrace`, `without_dead_code`,
  `bind_jit`, `jaxpr_as_function`, to make others and to run them; `debug_effect`, for primitives to
  keep.
"""

import typing as _typing

from tree_surgery.extend import lazy_names as _lazy_names

if _typing.TYPE_CHECKING:
    from ._filters.hashable import hashable_combine as hashable_combine
    from ._filters.hashable import hashable_partition as hashable_partition
    from ._jax.effects import debug_effect as debug_effect
    from ._jax.effects import jaxpr_has_effects as jaxpr_has_effects
    from ._jax.equations import Equation as Equation
    from ._jax.equations import all_jaxprs as all_jaxprs
    from ._jax.equations import equations as equations
    from ._jax.equations import is_dropped as is_dropped
    from ._jax.equations import is_literal as is_literal
    from ._jax.evaluate import jaxpr_as_function as jaxpr_as_function
    from ._jax.evaluate import retrace as retrace
    from ._jax.inner_programs import InnerCall as InnerCall
    from ._jax.inner_programs import InnerCond as InnerCond
    from ._jax.inner_programs import InnerLinearSolve as InnerLinearSolve
    from ._jax.inner_programs import InnerPrograms as InnerPrograms
    from ._jax.inner_programs import InnerScan as InnerScan
    from ._jax.inner_programs import InnerShardMap as InnerShardMap
    from ._jax.inner_programs import InnerWhile as InnerWhile
    from ._jax.inner_programs import inner_programs as inner_programs
    from ._jax.jaxprs import jaxpr_input_types as jaxpr_input_types
    from ._jax.jaxprs import jaxpr_output_types as jaxpr_output_types
    from ._jax.jaxprs import jaxpr_results as jaxpr_results
    from ._jax.jitted import bind_jit as bind_jit
    from ._jax.rewrite import without_dead_code as without_dead_code
    from ._jaxprs.interpreter import Interpreter as Interpreter
    from ._jit.check_registry import Carried as Carried
    from ._jit.check_registry import register_check as register_check
    from ._jit.trace_observers import observe_traces as observe_traces
    from ._primitives.filter_primitive import filter_primitive_batching as filter_primitive_batching
    from ._primitives.filter_primitive import filter_primitive_bind as filter_primitive_bind
    from ._primitives.filter_primitive import filter_primitive_def as filter_primitive_def
    from ._primitives.filter_primitive import filter_primitive_jvp as filter_primitive_jvp
    from ._primitives.filter_primitive import (
        filter_primitive_transpose as filter_primitive_transpose,
    )
    from ._primitives.filter_primitive import materialise_zeros as materialise_zeros
    from ._primitives.raise_hook import set_raise_if as set_raise_if
    from ._primitives.restrictions import nonbatchable as nonbatchable
    from ._primitives.restrictions import nonbatchable_p as nonbatchable_p
    from ._primitives.restrictions import nondifferentiable as nondifferentiable
    from ._primitives.restrictions import nondifferentiable_backward as nondifferentiable_backward
    from ._primitives.restrictions import (
        nondifferentiable_backward_p as nondifferentiable_backward_p,
    )
    from ._primitives.restrictions import nontraceable as nontraceable
    from ._primitives.restrictions import nontraceable_p as nontraceable_p
    from ._primitives.select_if_vmap import select_if_vmap_p as select_if_vmap_p
    from ._primitives.unvmap import unvmap_all as unvmap_all
    from ._primitives.unvmap import unvmap_all_p as unvmap_all_p
    from ._primitives.unvmap import unvmap_any as unvmap_any
    from ._primitives.unvmap import unvmap_any_p as unvmap_any_p
    from ._primitives.unvmap import unvmap_max as unvmap_max
    from ._primitives.unvmap import unvmap_max_p as unvmap_max_p
    from ._primitives.unvmap import unvmap_min as unvmap_min
    from ._primitives.unvmap import unvmap_min_p as unvmap_min_p
    from ._primitives.vprim import create_vprim as create_vprim
    from ._reverse_loops.buffer import MaybeBuffer as MaybeBuffer
    from ._reverse_loops.buffer import buffer_at_set as buffer_at_set
    from ._reverse_loops.library_loops import scan as scan
    from ._reverse_loops.library_loops import while_loop as while_loop
    from ._reverse_loops.masked_write import maybe_set_p as maybe_set_p
    from ._reverse_loops.progress_meters import AbstractProgressMeter as AbstractProgressMeter
    from ._reverse_loops.progress_meters import NoProgressMeter as NoProgressMeter
    from ._reverse_loops.progress_meters import TextProgressMeter as TextProgressMeter
    from ._reverse_loops.progress_meters import TqdmProgressMeter as TqdmProgressMeter
    from ._toolkit.container_meta import ContainerMeta as ContainerMeta
    from ._toolkit.float_neighbours import default_floating_dtype as default_floating_dtype
    from ._toolkit.float_neighbours import left_broadcast_to as left_broadcast_to
    from ._toolkit.float_neighbours import nan_like as nan_like
    from ._toolkit.float_neighbours import nextafter as nextafter
    from ._toolkit.float_neighbours import prevbefore as prevbefore
    from ._toolkit.markers import GetKey as GetKey
    from ._toolkit.markers import doc_remove_args as doc_remove_args
    from ._toolkit.markers import doc_repr as doc_repr
    from ._toolkit.markers import str2jax as str2jax
    from ._toolkit.omega import ω as ω
    from ._tracing.closure_convert import ClosureConverted as ClosureConverted
    from ._tracing.closure_to_pytree import closure_to_pytree as closure_to_pytree
    from ._tracing.finalise import finalise_eval_jaxpr as finalise_eval_jaxpr
    from ._tracing.finalise import finalise_fn as finalise_fn
    from ._tracing.finalise import finalise_jaxpr as finalise_jaxpr
    from ._tracing.finalise import finalise_jaxpr_as_fn as finalise_jaxpr_as_fn
    from ._tracing.finalise import finalise_make_jaxpr as finalise_make_jaxpr
    from ._tracing.finalise import primitive_finalisations as primitive_finalisations
    from ._tracing.finalise import register_impl_finalisation as register_impl_finalisation
    from ._tracing.noinline import noinline as noinline
    from ._tracing.noinline import noinline_p as noinline_p
    from ._tracing.onnx import to_onnx as to_onnx
    from ._tracing.shape_trials import cached_filter_eval_shape as cached_filter_eval_shape
    from ._tracing.shape_trials import eval_empty as eval_empty
    from ._tracing.shape_trials import eval_zero as eval_zero
    from ._tracing.shape_trials import scan_trick as scan_trick
else:
    __all__, __getattr__, __dir__ = _lazy_names(
        __name__,
        {
            "._filters.hashable": "hashable_combine, hashable_partition",
            "._jax.effects": "debug_effect, jaxpr_has_effects",
            "._jax.equations": "Equation, all_jaxprs, equations, is_dropped, is_literal",
            "._jax.evaluate": "jaxpr_as_function, retrace",
            "._jax.inner_programs": (
                "InnerCall, InnerCond, InnerLinearSolve, InnerPrograms, InnerScan, "
                "InnerShardMap, InnerWhile, inner_programs"
            ),
            "._jax.jaxprs": "jaxpr_input_types, jaxpr_output_types, jaxpr_results",
            "._jax.jitted": "bind_jit",
            "._jax.rewrite": "without_dead_code",
            "._jaxprs.interpreter": "Interpreter",
            "._jit.check_registry": "Carried, register_check",
            "._jit.trace_observers": "observe_traces",
            "._primitives.filter_primitive": (
                "filter_primitive_batching, filter_primitive_bind, filter_primitive_def, "
                "filter_primitive_jvp, filter_primitive_transpose, materialise_zeros"
            ),
            "._primitives.raise_hook": "set_raise_if",
            "._primitives.restrictions": (
                "nonbatchable, nonbatchable_p, nondifferentiable, nondifferentiable_backward, "
                "nondifferentiable_backward_p, nontraceable, nontraceable_p"
            ),
            "._primitives.select_if_vmap": "select_if_vmap_p",
            "._primitives.unvmap": (
                "unvmap_all, unvmap_all_p, unvmap_any, unvmap_any_p, unvmap_max, unvmap_max_p, "
                "unvmap_min, unvmap_min_p"
            ),
            "._primitives.vprim": "create_vprim",
            "._reverse_loops.buffer": "MaybeBuffer, buffer_at_set",
            "._reverse_loops.library_loops": "scan, while_loop",
            "._reverse_loops.masked_write": "maybe_set_p",
            "._reverse_loops.progress_meters": (
                "AbstractProgressMeter, NoProgressMeter, TextProgressMeter, TqdmProgressMeter"
            ),
            "._toolkit.container_meta": "ContainerMeta",
            "._toolkit.float_neighbours": (
                "default_floating_dtype, left_broadcast_to, nan_like, nextafter, prevbefore"
            ),
            "._toolkit.markers": "GetKey, doc_remove_args, doc_repr, str2jax",
            "._toolkit.omega": "ω",
            "._tracing.closure_convert": "ClosureConverted",
            "._tracing.closure_to_pytree": "closure_to_pytree",
            "._tracing.finalise": (
                "finalise_eval_jaxpr, finalise_fn, finalise_jaxpr, finalise_jaxpr_as_fn, "
                "finalise_make_jaxpr, primitive_finalisations, register_impl_finalisation"
            ),
            "._tracing.noinline": "noinline, noinline_p",
            "._tracing.onnx": "to_onnx",
            "._tracing.shape_trials": "cached_filter_eval_shape, eval_empty, eval_zero, scan_trick",
        },
    )
