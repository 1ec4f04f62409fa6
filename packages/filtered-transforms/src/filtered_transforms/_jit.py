"""`filter_jit`: arrays are traced, everything else is static."""

import weakref
from typing import Any

import jax
import jax.tree_util as jtu
from pytree_module import field

from ._checks import has_checks, translated, wait
from ._options import JitOptions, jit_options
from ._programs import QUIET, Programs, Signature, stop_quiet
from ._wrapper import Wrapper, module_of

_flatten = jtu.tree_flatten
_ref = weakref.ref


class _Registry:
    # All programs for one set of options: by function, and those of callable PyTrees together.

    __slots__ = ("by_function", "of_trees", "options")

    def __init__(self, options: JitOptions):
        self.options = options
        self.by_function: dict[weakref.ref[Any], Programs] = {}
        self.of_trees = Programs(None, options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _registry, (self.options,)

    def __repr__(self) -> str:
        return repr(self.options)

    def add(self, fun: Any) -> Programs:
        by_function = self.by_function
        key = _ref(fun, lambda gone: by_function.pop(gone, None))
        return by_function.setdefault(key, Programs(fun, self.options))


_REGISTRIES: dict[JitOptions, _Registry] = {}


def _registry(options: JitOptions) -> _Registry:
    return _REGISTRIES.setdefault(options, _Registry(options))


_WEAK: dict[type, bool] = {}


def _is_weak(fun: Any) -> bool:
    found = _WEAK.get(fun.__class__)
    if found is None:
        found = jtu.tree_structure(fun).num_nodes == 1 and jtu.all_leaves([fun])
        try:
            _ref(fun)
        except TypeError:
            found = False
        _WEAK[fun.__class__] = found
    return found


class JitWrapper(Wrapper):
    registry: _Registry = field(static=True)

    def __init__(self, fun: Any, options: JitOptions):
        self.fun = fun
        self.__module__ = module_of(fun)
        self.registry = _registry(options)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        fun, registry = self.fun, self.registry
        if _WEAK.get(fun.__class__):
            programs = registry.by_function.get(_ref(fun))
            if programs is None:
                programs = registry.add(fun)
            call = (args, kwargs)
        elif _is_weak(fun):
            return self(*args, **kwargs)
        else:
            programs = registry.of_trees
            call = (fun, args, kwargs)
        return _run(programs, call)

    def __repr__(self) -> str:
        return f"filter_jit({self.fun!r})"


def _run(programs: Programs, call: tuple[Any, ...]) -> Any:
    leaves, treedef = _flatten(call)
    types = tuple([leaf.__class__ for leaf in leaves])
    try:
        plan = programs.known.get((treedef, types))
    except TypeError:
        plan = None
    if plan is None:
        plan = programs.plan(treedef, types, leaves, call)
    try:
        program = plan.programs.get(plan.static_key(leaves))
    except TypeError:
        program = None
    if program is None:
        program = programs.program(plan, leaves, call)
    given = [leaf for leaf, here in zip(leaves, plan.donated) if here]
    kept = [leaf for leaf, here in zip(leaves, plan.kept) if here]
    try:
        if programs.options.quiet:
            out, signature = _run_quietly(program, given, kept)
        else:
            out, signature = program(given, kept)
        if signature.has_checks is not False:
            _settle(program, given, kept, out, signature)
    except jax.errors.JaxRuntimeError as error:
        found = translated(error)
        if found is None:
            raise
        raise found from None
    return out


def _run_quietly(program: Any, given: list[Any], kept: list[Any]) -> Any:
    QUIET.wanted = True
    try:
        return program(given, kept)
    finally:
        QUIET.wanted = False
        stop_quiet()


def _settle(
    program: Any, given: list[Any], kept: list[Any], out: Any, signature: Signature
) -> None:
    """Finds out, once, whether the program has run-time checks, and waits for it if so."""
    if signature.has_checks is None:
        signature.has_checks = has_checks(program.trace(given, kept).jaxpr.jaxpr)
    if signature.has_checks:
        wait(out)


def filter_jit(fun: Any = ..., *, donate: Any = "none", **jitkwargs: Any) -> Any:
    """Compiles a function: all arrays among its arguments are traced, everything else is static.

    **Arguments:**

    - `fun`: the function; or any callable PyTree, such as a module or one of its methods, whose
        arrays are then traced as well. Left out, a decorator is returned.
    - `donate`: whose memory the result may reuse: `"all"` arrays; `"all-except-first"`, all but
        those of the first argument; `"none"`. With `"warn"` and `"warn-except-first"` a donation
        that the program has no use for is reported.
    - `**jitkwargs`: passed on to `jax.jit`: `inline`, `keep_unused`, `compiler_options`, ...

    **Returns:**

    A function with the name, docstring and signature of `fun`. It is a PyTree, can decorate
    methods, and has `lower` and `trace` like the functions of `jax.jit`. The result may hold
    values that are no arrays.

    A call with other static values, or another structure, compiles anew. The call returns before
    the result is computed, as with `jax.jit`, unless the program contains a run-time check.

    **Raises:**

    - `ValueError` for an unknown `donate`, or an option that goes by parameters
        (`static_argnums`, ...).
    - `TypeError` if a static value has no hash; it names the path of the value.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit

    @filter_jit
    def apply(x, activation):
        return activation(x), activation

    y, activation = apply(jnp.ones(3), jnp.tanh)
    assert y.shape == (3,) and activation is jnp.tanh
    ```
    """
    options = jit_options(donate, jitkwargs)
    if fun is ...:
        return lambda fun: filter_jit(fun, donate=donate, **jitkwargs)
    if not callable(fun):
        raise TypeError(
            f"`filter_jit` expects a function, got a {type(fun).__name__}, which is not a callable "
            f"object: {fun!r}."
        )
    return JitWrapper(fun, options)


def clear_caches() -> None:
    """Forgets all compiled programs, those of `jax.jit` and those of `filter_jit`.

    ```python
    from filtered_transforms import clear_caches

    clear_caches()
    ```
    """
    for registry in list(_REGISTRIES.values()):
        registry.by_function.clear()
        registry.of_trees.clear()
    jax.clear_caches()
