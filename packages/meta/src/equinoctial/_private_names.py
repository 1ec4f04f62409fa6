"""What is private in Equinox and imported by released libraries, for `as_equinox`.

A private module of Equinox gives the public names, wherever they are defined here. `NAMES` are
those that are private there, or called otherwise here, with a library that needs each.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from nn_layers import extend as layers
from pytree_module import Module

from . import internal

MODULES = """
_ad _caches _callback _compile_utils _config _custom_types _deprecate _doc_utils _enum _errors
_eval_shape _filters _jit _make_jaxpr _misc _module _module._better_abstract _module._field
_module._flatten _module._module _module._prebuilt _pretty_print _serialisation _sharding _tree
_unvmap _update _vmap_pmap debug._announce_transform debug._backward_nan debug._breakpoint_if
debug._dce debug._max_traces internal._closure_to_pytree internal._finalise_jaxpr internal._getkey
internal._loop internal._loop.bounded internal._loop.checkpointed internal._loop.common
internal._loop.loop internal._misc internal._nextafter internal._noinline internal._nontraceable
internal._omega internal._onnx internal._primitive internal._progress_meter internal._str2jax
nn._activations nn._attention nn._batch_norm nn._conv nn._dropout nn._embedding nn._inference
nn._linear nn._misc nn._mlp nn._normalisation nn._pool nn._rnn nn._sequential nn._shared
nn._spectral_norm nn._stateful nn._weight_norm
""".split()  # noqa: SIM905  (as a list it would take a line for each)
"""The private modules of Equinox 0.13.8, each after what holds it."""

_MODULE_META: Any = type(Module)


class _CurrentlyInitialising:
    """Instances whose fields may be assigned."""

    def __contains__(self, module: object) -> bool:
        return isinstance(module, Module) and _MODULE_META.__is_unfrozen__(type(module), module)

    def add(self, module: Module) -> None:
        _MODULE_META.__unfreeze__(type(module), module)

    def remove(self, module: Module) -> None:
        _MODULE_META.__freeze__(type(module), module)


class Private(NamedTuple):
    """A private name of Equinox: where it is, the function that finds it, who imports it."""

    module: str
    name: str
    find: Callable[[], object]
    used_by: str


_LAYERS = "layers made after those of Equinox"
_INTERPRETERS = "interpreters of programs"

NAMES = (
    Private("_ad", "_ClosureConvert", lambda: internal.ClosureConverted, "solvers: isinstance"),
    # What our functions take for an argument that is not given.
    Private("_custom_types", "sentinel", lambda: ..., "decorators made after `filter_vmap`"),
    Private("_errors", "_nan_like", lambda: internal.nan_like, "checks made after `error_if`"),
    Private("_misc", "default_floating_dtype", lambda: internal.default_floating_dtype, _LAYERS),
    Private("_module._module", "_ModuleMeta", lambda: _MODULE_META, "distreqx, oncequinox, quax"),
    Private("_module._module", "_currently_initialising", _CurrentlyInitialising, "eqx-cam, quax"),
    Private("_module._module", "is_abstract_module", lambda: _MODULE_META.__is_abstract__, "quax"),
    Private(
        "internal._loop.bounded",
        "bounded_while_loop",
        lambda: functools.partial(internal.while_loop, kind="bounded"),
        "solvers",
    ),
    Private(
        "internal._loop.checkpointed",
        "checkpointed_while_loop",
        lambda: functools.partial(internal.while_loop, kind="checkpointed"),
        "astronomix, jf1uids",
    ),
    Private("internal._omega", "_Metaω", lambda: type(internal.ω), "dynamiqs"),
    # Our `static` holds the structure as well: it gives the arguments, not a list of their leaves.
    Private("internal._primitive", "_combine", lambda: internal.hashable_combine, _INTERPRETERS),
    Private(
        "nn._attention", "dot_product_attention", lambda: layers.dot_product_attention, _LAYERS
    ),
    Private(
        "nn._attention",
        "dot_product_attention_weights",
        lambda: layers.dot_product_attention_weights,
        _LAYERS,
    ),
    Private("nn._conv", "_ntuple", lambda: layers.ntuple, _LAYERS),
    Private("nn._misc", "default_init", lambda: layers.default_init, _LAYERS),
    Private("nn._misc", "named_scope", lambda: jax.named_scope, _LAYERS),
)
