"""Run-time errors, result codes, and tools for finding faults."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
from registry import program, short


def checked(eqx, x, bad, **options):
    return eqx.error_if(x, bad, "message", **options)


short(
    "error_if",
    eager_fine=lambda eqx: checked(eqx, jnp.ones(2), False),
    eager_bad=lambda eqx: checked(eqx, jnp.ones(2), True),
    eager_array=lambda eqx: checked(eqx, jnp.ones(2), jnp.array(True)),
    eager_array_fine=lambda eqx: checked(eqx, {"x": jnp.ones(2), "s": "s"}, jnp.array(False)),
    several=lambda eqx: checked(eqx, jnp.ones(2), jnp.array([False, True])),
    numpy=lambda eqx: checked(eqx, 1.0, np.array([False, True])),
    jit_bad=lambda eqx: eqx.filter_jit(lambda x: checked(eqx, x, x > 0))(jnp.array(1.0)),
    jit_fine=lambda eqx: eqx.filter_jit(lambda x: checked(eqx, x, x > 0))(jnp.array(-1.0)),
    jax_jit_bad=lambda eqx: jax.block_until_ready(
        jax.jit(lambda x: checked(eqx, x, x > 0))(jnp.array(1.0))
    ),
    jax_jit_fine=lambda eqx: jax.jit(lambda x: checked(eqx, x, x > 0))(jnp.array(-1.0)),
    jit_static_true=lambda eqx: eqx.filter_jit(lambda x: checked(eqx, x, True))(jnp.array(1.0)),
    jit_constant_array=lambda eqx: eqx.filter_jit(lambda x: checked(eqx, x, jnp.array(True)))(
        jnp.array(1.0)
    ),
    vmap_bad=lambda eqx: eqx.filter_jit(jax.vmap(lambda x: checked(eqx, x, x > 1)))(
        jnp.arange(3.0)
    ),
    vmap_fine=lambda eqx: eqx.filter_jit(jax.vmap(lambda x: checked(eqx, x, x > 5)))(
        jnp.arange(3.0)
    ),
    eager_vmap_bad=lambda eqx: jax.vmap(lambda x: checked(eqx, x, x > 1))(jnp.arange(3.0)),
    grad_bad=lambda eqx: eqx.filter_jit(jax.grad(lambda x: checked(eqx, x**2, x > 0)))(
        jnp.array(1.0)
    ),
    grad_fine=lambda eqx: eqx.filter_jit(jax.grad(lambda x: checked(eqx, x**2, x > 5)))(
        jnp.array(1.0)
    ),
    scan_bad=lambda eqx: eqx.filter_jit(
        lambda: jax.lax.scan(lambda c, x: (checked(eqx, c + x, c > 2), None), 0.0, jnp.arange(4.0))
    )(),
    cond_not_taken=lambda eqx: eqx.filter_jit(
        lambda p: jax.lax.cond(
            p, lambda: checked(eqx, jnp.array(1.0), jnp.array(1.0) > p), lambda: jnp.array(2.0)
        )
    )(jnp.array(False)),
    not_bool=lambda eqx: checked(eqx, jnp.ones(2), jnp.ones(2)),
    not_bool_python=lambda eqx: checked(eqx, jnp.ones(2), 1),
    no_arrays=lambda eqx: checked(eqx, "s", jnp.array(True)),
    no_arrays_fine=lambda eqx: checked(eqx, "s", jnp.array(False)),
    no_arrays_jit=lambda eqx: eqx.filter_jit(lambda p: checked(eqx, "s", p))(jnp.array(True)),
    off=lambda eqx: checked(eqx, jnp.ones(2), jnp.array(True), on_error="off"),
    nan=lambda eqx: eqx.filter_jit(lambda x: checked(eqx, x, x.sum() > 0, on_error="nan"))(
        jnp.ones(2)
    ),
    nan_fine=lambda eqx: eqx.filter_jit(lambda x: checked(eqx, x, x.sum() < 0, on_error="nan"))(
        jnp.ones(2)
    ),
    raise_=lambda eqx: checked(eqx, jnp.ones(2), jnp.array(True), on_error="raise"),
    on_error_wrong=lambda eqx: checked(eqx, jnp.ones(2), jnp.array(True), on_error="word"),
    message_in_text=lambda eqx: text_of(lambda: checked(eqx, jnp.ones(2), jnp.array(True))),
    message_in_text_jit=lambda eqx: text_of(
        lambda: eqx.filter_jit(lambda x: checked(eqx, x, x > 0))(jnp.array(1.0))
    ),
    model=lambda eqx: checked(
        eqx, eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0)), jnp.array(False)
    ),
    second_call_after_error=lambda eqx: after_error(eqx),
    integers=lambda eqx: checked(eqx, jnp.arange(2), jnp.array(False)),
    while_bad=lambda eqx: eqx.filter_jit(
        lambda: jax.lax.while_loop(
            lambda c: c < 5, lambda c: checked(eqx, c + 1, c > 3), jnp.array(0)
        )
    )(),
    jvp=lambda eqx: jax.jvp(lambda x: checked(eqx, x * 2, x > 5), (1.0,), (1.0,)),
    checkpointed=lambda eqx: jax.grad(jax.checkpoint(lambda x: checked(eqx, x * 2, x > 5)))(1.0),
    unused=lambda eqx: eqx.filter_jit(lambda x: (checked(eqx, x, x < 0), x)[1])(jnp.array(1.0)),
)


def text_of(function):
    try:
        jax.block_until_ready(function())
    except Exception as error:
        return "message" in str(error)


def after_error(eqx):
    f = eqx.filter_jit(lambda x: checked(eqx, x, x > 0))
    with contextlib.suppress(Exception):
        jax.block_until_ready(f(jnp.array(1.0)))
    return f(jnp.array(-1.0))


def branched(eqx, pred, index, **options):
    return eqx.branched_error_if(jnp.ones(2), pred, index, ["first", "second"], **options)


short(
    "branched_error_if",
    fine=lambda eqx: branched(eqx, jnp.array(False), jnp.array(0)),
    bad=lambda eqx: branched(eqx, jnp.array(True), jnp.array(1)),
    bad_jit=lambda eqx: eqx.filter_jit(lambda p, i: branched(eqx, p, i))(
        jnp.array(True), jnp.array(1)
    ),
    text=lambda eqx: second_in_text(eqx),
    python_index=lambda eqx: branched(eqx, jnp.array(True), 0),
    out_of_range=lambda eqx: branched(eqx, jnp.array(True), jnp.array(7)),
    negative=lambda eqx: branched(eqx, jnp.array(True), jnp.array(-1)),
    float_index=lambda eqx: branched(eqx, jnp.array(True), jnp.array(1.0)),
    no_messages=lambda eqx: eqx.branched_error_if(jnp.ones(1), jnp.array(True), 0, []),
    off=lambda eqx: branched(eqx, jnp.array(True), jnp.array(0), on_error="off"),
    array_index=lambda eqx: branched(eqx, jnp.array([True, True]), jnp.array([0, 1])),
)


def second_in_text(eqx):
    try:
        eqx.filter_jit(lambda p, i: branched(eqx, p, i))(jnp.array(True), jnp.array(1))
    except Exception as error:
        return "second" in str(error), "first" in str(error)


@program("EquinoxRuntimeError")
def runtime_error_is_caught(eqx):
    try:
        eqx.filter_jit(lambda x: checked(eqx, x, x > 0))(jnp.array(1.0))
    except eqx.EquinoxRuntimeError as error:
        return isinstance(error, RuntimeError), type(error).__name__


@program("EquinoxRuntimeError")
def runtime_error_class(eqx):
    return issubclass(eqx.EquinoxRuntimeError, RuntimeError), issubclass(
        eqx.EquinoxRuntimeError, Exception
    )


@program("EquinoxTracetimeError")
def tracetime_error_is_caught(eqx):
    try:
        eqx.filter_jit(lambda x: checked(eqx, x, True))(jnp.array(1.0))
    except eqx.EquinoxTracetimeError as error:
        return isinstance(error, RuntimeError), str(error) == "message"


@program("EquinoxTracetimeError", "EquinoxRuntimeError")
def error_classes(eqx):
    return issubclass(eqx.EquinoxTracetimeError, eqx.EquinoxRuntimeError)


# Result codes.


def codes(eqx):
    class Codes(eqx.Enumeration):
        successful = ""
        diverged = "it diverged"
        stopped = "it stopped"

    return Codes


def more_codes(eqx, base):
    class More(base):
        special = "something special"

    return More


short(
    "Enumeration",
    repr=lambda eqx: repr(codes(eqx).diverged),
    str=lambda eqx: str(codes(eqx).diverged),
    repr_class=lambda eqx: repr(codes(eqx)),
    length=lambda eqx: len(codes(eqx)),
    equal=lambda eqx: (lambda C: (C.diverged == C.diverged, C.diverged == C.stopped))(codes(eqx)),
    unequal=lambda eqx: (lambda C: (C.diverged != C.diverged, C.diverged != C.stopped))(codes(eqx)),
    equal_other_class=lambda eqx: codes(eqx).diverged == codes(eqx).diverged,
    equal_int=lambda eqx: codes(eqx).diverged == 1,
    text=lambda eqx: (lambda C: C[C.stopped])(codes(eqx)),
    missing=lambda eqx: codes(eqx).nothing,
    instance=lambda eqx: codes(eqx)(),
    assign=lambda eqx: setattr(codes(eqx), "successful", 1),
    isinstance=lambda eqx: (lambda C: isinstance(C.diverged, C))(codes(eqx)),
    isinstance_base=lambda eqx: isinstance(codes(eqx).diverged, eqx.Enumeration),
    leaves=lambda eqx: jax.tree.leaves(codes(eqx).stopped),
    is_traced=lambda eqx: (lambda C: jax.jit(lambda c: c == C.stopped)(C.stopped))(codes(eqx)),
    where=lambda eqx: (lambda C: C[C.where(jnp.array(True), C.stopped, C.diverged)])(codes(eqx)),
    where_python=lambda eqx: (lambda C: C[C.where(False, C.stopped, C.diverged)])(codes(eqx)),
    where_wrong=lambda eqx: (lambda C: C.where(True, 1, C.stopped))(codes(eqx)),
    where_other=lambda eqx: codes(eqx).where(True, codes(eqx).stopped, codes(eqx).stopped),
    where_traced=lambda eqx: (
        lambda C: C[jax.jit(lambda p: C.where(p, C.stopped, C.diverged))(True)]
    )(codes(eqx)),
    where_vmapped_repr=lambda eqx: (
        lambda C: repr(
            jax.vmap(lambda p: C.where(p, C.stopped, C.diverged))(jnp.array([True, False]))
        )
    )(codes(eqx)),
    error_if_bad=lambda eqx: (lambda C: C.stopped.error_if(jnp.ones(1), jnp.array(True)))(
        codes(eqx)
    ),
    error_if_fine=lambda eqx: (lambda C: C.stopped.error_if(jnp.ones(1), jnp.array(False)))(
        codes(eqx)
    ),
    error_if_jit=lambda eqx: (
        lambda C: eqx.filter_jit(lambda c, x: c.error_if(x, c == C.stopped))(C.stopped, jnp.ones(1))
    )(codes(eqx)),
    promote=lambda eqx: (lambda C: (lambda M: M[M.promote(C.stopped)])(more_codes(eqx, C)))(
        codes(eqx)
    ),
    promote_same=lambda eqx: (lambda C: C[C.promote(C.stopped)])(codes(eqx)),
    promote_down=lambda eqx: (lambda C: C.promote(more_codes(eqx, C).special))(codes(eqx)),
    promote_unrelated=lambda eqx: codes(eqx).promote(more_codes(eqx, eqx.Enumeration).special),
    inherited=lambda eqx: (lambda M: (len(M), M[M.stopped], repr(M.special)))(
        more_codes(eqx, codes(eqx))
    ),
    inherited_class_equal=lambda eqx: (lambda C: more_codes(eqx, C).stopped == C.stopped)(
        codes(eqx)
    ),
    hash=lambda eqx: isinstance(hash(codes(eqx).stopped), int),
    is_module=lambda eqx: isinstance(codes(eqx).stopped, eqx.Module),
    bool=lambda eqx: bool(codes(eqx).stopped),
    multiple_bases=lambda eqx: len(
        type(eqx.Enumeration)("Both", (codes(eqx), more_codes(eqx, eqx.Enumeration)), {})
    ),
    empty=lambda eqx: len(type(eqx.Enumeration)("Empty", (eqx.Enumeration,), {})),
    non_string=lambda eqx: type(eqx.Enumeration)("Numbers", (eqx.Enumeration,), {"a": 1}).a,
    index_wrong=lambda eqx: codes(eqx)[3],
    in_a_loop=lambda eqx: (
        lambda C: C[
            jax.lax.while_loop(
                lambda c: c[1] < 3,
                lambda c: (C.where(c[1] == 1, C.stopped, c[0]), c[1] + 1),
                (C.successful, 0),
            )[0]
        ]
    )(codes(eqx)),
    tree_equal=lambda eqx: (lambda C: bool(eqx.tree_equal(C.stopped, C.stopped)))(codes(eqx)),
)


@program("internal.Enumeration", "internal.error_if", "internal.branched_error_if")
def the_same_internally(eqx):
    internal = eqx.internal
    return (
        issubclass(type(internal.Enumeration), type),
        internal.error_if(1.0, False, ""),
        internal.branched_error_if(1.0, False, 0, ["a"]),
    )


# Tools.


short(
    "debug.announce_transform",
    eager=lambda eqx: eqx.debug.announce_transform(jnp.ones(2), name="x"),
    jit=lambda eqx: jax.jit(lambda x: eqx.debug.announce_transform(x, name="x"))(jnp.ones(2)),
    vmap=lambda eqx: jax.vmap(lambda x: eqx.debug.announce_transform(x, name="x"))(jnp.ones(2)),
    grad=lambda eqx: jax.grad(lambda x: eqx.debug.announce_transform(x, name="x"))(1.0),
    own_print=lambda eqx: (
        lambda out: (
            jax.vmap(lambda x: eqx.debug.announce_transform(x, announce=out.append))(jnp.ones(2)),
            len(out),
        )
    )([]),
    tree=lambda eqx: eqx.debug.announce_transform({"a": jnp.ones(2), "s": "s"}),
)


def nan_back(eqx, **options):
    def f(x):
        x = eqx.debug.backward_nan(x, **options)
        return jnp.where(x > 0, jnp.sqrt(x), 0.0)

    return f


short(
    "debug.backward_nan",
    forward=lambda eqx: nan_back(eqx)(jnp.array(0.0)),
    fine=lambda eqx: jax.grad(nan_back(eqx))(jnp.array(4.0)),
    nan=lambda eqx: jax.grad(nan_back(eqx, name="x"))(jnp.array(0.0)),
    nan_jit=lambda eqx: eqx.filter_jit(jax.grad(nan_back(eqx, name="x")))(jnp.array(0.0)),
    not_terminating=lambda eqx: jax.grad(nan_back(eqx, name="x", terminate=False))(jnp.array(0.0)),
)
short(
    "debug.breakpoint_if",
    false=lambda eqx: eqx.debug.breakpoint_if(jnp.array(False)),
    false_jit=lambda eqx: jax.jit(lambda x: (eqx.debug.breakpoint_if(x > 5), x)[1])(1.0),
    false_python=lambda eqx: eqx.debug.breakpoint_if(False),
)


def traced(eqx, times, most):
    @eqx.filter_jit
    @eqx.debug.assert_max_traces(max_traces=most)
    def f(x):
        return x + 1

    for i in range(times):
        f(jnp.ones(i + 1))
    return f


short(
    "debug.assert_max_traces",
    fine=lambda eqx: traced(eqx, 2, 2)(jnp.ones(1)),
    too_many=lambda eqx: traced(eqx, 2, 1),
    none=lambda eqx: traced(eqx, 1, None) is not None,
    direct=lambda eqx: eqx.debug.assert_max_traces(lambda x: x, max_traces=3)(1),
    name=lambda eqx: eqx.debug.assert_max_traces(nan_back, max_traces=3).__name__,
)


@program("debug.get_num_traces")
def get_num_traces(eqx):
    f = eqx.debug.assert_max_traces(lambda x: x, max_traces=5)
    jitted = jax.jit(f)
    jitted(jnp.ones(1))
    jitted(jnp.ones(2))
    return eqx.debug.get_num_traces(f)


@program("debug.get_num_traces")
def get_num_traces_of_another(eqx):
    return eqx.debug.get_num_traces(lambda x: x)


@program("debug.store_dce", "debug.inspect_dce")
def dce(eqx):
    @jax.jit
    def f(x):
        return eqx.debug.store_dce((jnp.sin(x), jnp.cos(x)), name="parts")[0]

    f(1.0)
    eqx.debug.inspect_dce(name="parts")


@program("debug.inspect_dce")
def dce_of_nothing(eqx):
    eqx.debug.inspect_dce(name="nothing stored")


@program("internal.store_dce", "internal.inspect_dce")
def dce_internally(eqx):
    jax.jit(lambda x: eqx.internal.store_dce((x, x * 2), name="internal")[0])(1.0)
    eqx.internal.inspect_dce(name="internal")


@program("internal.assert_dce")
def assert_dce_fine(eqx):
    return jax.jit(lambda x: (eqx.internal.assert_dce(x, "kept"), x * 2)[1])(1.0)


@program("internal.assert_dce")
def assert_dce_bad(eqx):
    return jax.block_until_ready(jax.jit(lambda x: eqx.internal.assert_dce(x, "kept"))(1.0))


@program("internal.announce_transform", "internal.announce_jaxpr_p")
def announce_internally(eqx):
    return jax.vmap(lambda x: eqx.internal.announce_transform(x, name="i"))(jnp.ones(1)), str(
        eqx.internal.announce_jaxpr_p
    )


@program("internal.debug_backward_nan", "internal.breakpoint_if")
def debug_internally(eqx):
    eqx.internal.breakpoint_if(False)
    return jax.grad(lambda x: eqx.internal.debug_backward_nan(x) ** 2)(jnp.array(2.0))
