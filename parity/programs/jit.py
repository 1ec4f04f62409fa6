"""filter_jit, caches, shapes, jaxprs, callbacks, places."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
from registry import program, short


def linear(eqx):
    return eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0))


def count(eqx, *calls, **options):
    """How often a function is traced over calls."""
    traces = []

    @eqx.filter_jit(**options)
    def f(*args, **kwargs):
        traces.append(1)
        return jax.tree.leaves(eqx.filter((args, kwargs), eqx.is_array))

    for args in calls:
        f(*args)
    return len(traces)


short(
    "filter_jit",
    arrays=lambda eqx: eqx.filter_jit(lambda x, y: x + y)(jnp.ones(2), 1.0),
    returns_all=lambda eqx: eqx.filter_jit(lambda x: {"x": x, "s": "text", "n": None, "i": 1})(1.0),
    returns_function=lambda eqx: eqx.filter_jit(lambda x: jnp.sin)(1.0) is jnp.sin,
    returns_none=lambda eqx: eqx.filter_jit(lambda x: None)(jnp.ones(2)),
    returns_numpy=lambda eqx: eqx.filter_jit(lambda: np.ones(2))(),
    returns_python_float=lambda eqx: eqx.filter_jit(lambda: 1.5)(),
    numpy_input_traced=lambda eqx: eqx.filter_jit(lambda x: x)(np.arange(2)),
    python_static=lambda eqx: eqx.filter_jit(lambda x: type(x).__name__)(1.0),
    numpy_scalar=lambda eqx: eqx.filter_jit(lambda x: x)(np.float32(1)),
    weak_type=lambda eqx: eqx.filter_jit(lambda x: x)(jnp.asarray(1.0)),
    keywords=lambda eqx: eqx.filter_jit(lambda x, *, y=2, z: x + y + z)(jnp.ones(()), z=3.0),
    var_keywords=lambda eqx: eqx.filter_jit(lambda **kw: kw)(b=jnp.ones(1), a="s"),
    var_positional=lambda eqx: eqx.filter_jit(lambda *a: a)(jnp.ones(1), "s"),
    wrong_arguments=lambda eqx: eqx.filter_jit(lambda x: x)(1, 2),
    no_arguments=lambda eqx: eqx.filter_jit(lambda: jnp.ones(2))(),
    static_control_flow=lambda eqx: eqx.filter_jit(lambda x, f: x if f else -x)(jnp.ones(2), False),
    traced_control_flow=lambda eqx: eqx.filter_jit(lambda x: 1 if x else 2)(jnp.array(True)),
    unhashable_static=lambda eqx: eqx.filter_jit(lambda x: 1)({1, 2}),
    string_static=lambda eqx: eqx.filter_jit(lambda s, x: (s + "!", x))("a", jnp.ones(1)),
    traces_same=lambda eqx: count(eqx, (jnp.ones(2),), (jnp.zeros(2),)),
    traces_shape=lambda eqx: count(eqx, (jnp.ones(2),), (jnp.ones(3),)),
    traces_dtype=lambda eqx: count(eqx, (jnp.ones(2),), (jnp.arange(2),)),
    traces_static=lambda eqx: count(eqx, (1,), (2,), (1,)),
    traces_static_type=lambda eqx: count(eqx, (1,), (1.0,), (True,)),
    traces_numpy=lambda eqx: count(eqx, (np.ones(2, "f4"),), (jnp.ones(2),)),
    traces_weak=lambda eqx: count(eqx, (jnp.asarray(1.0),), (jnp.float32(1.0),)),
    traces_function=lambda eqx: count(eqx, (jnp.sin,), (jnp.cos,), (jnp.sin,)),
    traces_module=lambda eqx: count(eqx, (linear(eqx),), (linear(eqx),)),
    traces_keyword_order=lambda eqx: (
        lambda traces: (lambda f: (f(a=1.0, b=2.0), f(b=2.0, a=1.0), len(traces)))(
            eqx.filter_jit(lambda **kw: traces.append(1))
        )
    )([]),
    donate_all=lambda eqx: eqx.filter_jit(lambda x: x + 1, donate="all")(jnp.ones(2)),
    donate_first=lambda eqx: eqx.filter_jit(lambda x, y: x + y, donate="all-except-first")(
        jnp.ones(2), jnp.ones(2)
    ),
    donate_warn=lambda eqx: eqx.filter_jit(lambda x: x + 1, donate="warn")(jnp.ones(2)),
    donate_warn_unused=lambda eqx: eqx.filter_jit(lambda x: x.sum(), donate="warn")(jnp.ones(2)),
    donate_unused=lambda eqx: eqx.filter_jit(lambda x: x.sum(), donate="all")(jnp.ones(2)),
    donate_wrong=lambda eqx: eqx.filter_jit(lambda x: x, donate="everything")(jnp.ones(2)),
    donated_is_gone=lambda eqx: (
        lambda x: (eqx.filter_jit(lambda x: x + 1, donate="all")(x), x.is_deleted())[1]
    )(jnp.ones(2)),
    not_donated_first=lambda eqx: (
        lambda x, y: (
            eqx.filter_jit(lambda x, y: (x + 1, y + 1), donate="all-except-first")(x, y),
            x.is_deleted(),
            y.is_deleted(),
        )[1:]
    )(jnp.ones(2), jnp.ones(2)),
    name=lambda eqx: eqx.filter_jit(linear).__name__,
    doc=lambda eqx: eqx.filter_jit(count).__doc__,
    signature=lambda eqx: str(inspect.signature(eqx.filter_jit(lambda x, *, y=1: x))),
    wrapped=lambda eqx: eqx.filter_jit(linear).__wrapped__ is linear,
    wrapped_module=lambda eqx: eqx.filter_jit(linear(eqx))(jnp.ones(2)),
    is_tree=lambda eqx: len(jax.tree.leaves(eqx.filter(eqx.filter_jit(linear(eqx)), eqx.is_array))),
    no_function=lambda eqx: eqx.filter_jit(3),
    keyword_function=lambda eqx: eqx.filter_jit(fun=lambda x: x)(1.0),
    no_function_yet=lambda eqx: eqx.filter_jit()(lambda x: x)(1.0),
    inline=lambda eqx: eqx.filter_jit(lambda x: x, inline=True)(jnp.ones(1)),
    old_options=lambda eqx: eqx.filter_jit(lambda x: x, default=True),
    static_argnums=lambda eqx: eqx.filter_jit(lambda x: x, static_argnums=0),
    static_argnames=lambda eqx: eqx.filter_jit(lambda x: x, static_argnames="x"),
    donate_argnums=lambda eqx: eqx.filter_jit(lambda x: x, donate_argnums=0),
    device_option=lambda eqx: eqx.filter_jit(lambda x: x, nonsense=0),
    in_jax_jit=lambda eqx: jax.jit(eqx.filter_jit(lambda x, n: x * n))(jnp.ones(2), 3.0),
    in_vmap=lambda eqx: jax.vmap(eqx.filter_jit(lambda x: x * 2))(jnp.arange(3.0)),
    in_grad=lambda eqx: jax.grad(eqx.filter_jit(lambda x: x**2))(3.0),
    nested=lambda eqx: eqx.filter_jit(eqx.filter_jit(lambda x, s: (x, s)))(jnp.ones(1), "s"),
    in_filter_grad=lambda eqx: eqx.filter_grad(eqx.filter_jit(lambda m: m(jnp.ones(2)).sum()))(
        linear(eqx)
    ),
    of_filter_grad=lambda eqx: eqx.filter_jit(eqx.filter_grad(lambda m: m(jnp.ones(2)).sum()))(
        linear(eqx)
    ),
    of_vmap=lambda eqx: eqx.filter_jit(eqx.filter_vmap(linear(eqx)))(jnp.ones((4, 2))),
    of_partial=lambda eqx: eqx.filter_jit(functools.partial(lambda x, y: x + y, jnp.ones(2)))(1.0),
    of_eqx_partial=lambda eqx: eqx.filter_jit(eqx.Partial(lambda x, y: x + y, jnp.ones(2)))(1.0),
    of_method=lambda eqx: eqx.filter_jit(linear(eqx).__call__)(jnp.ones(2)),
    of_builtin=lambda eqx: eqx.filter_jit(jnp.add)(jnp.ones(2), 1.0),
    raises_inside=lambda eqx: eqx.filter_jit(lambda x: [][1])(jnp.ones(1)),
    raises_value_error=lambda eqx: eqx.filter_jit(lambda x: jnp.ones(2) + jnp.ones(3))(1),
    mutated_input=lambda eqx: eqx.filter_jit(lambda d: d.pop("a"))({"a": jnp.ones(1)}),
    key=lambda eqx: eqx.filter_jit(lambda k: jax.random.uniform(k))(jax.random.key(0)),
    struct_argument=lambda eqx: eqx.filter_jit(lambda s: s.shape)(
        jax.ShapeDtypeStruct((2,), jnp.float32)
    ),
    identity_model=lambda eqx: eqx.filter_jit(lambda m: m)(linear(eqx)),
    empty_tree=lambda eqx: eqx.filter_jit(lambda t: t)(([], {}, None)),
    type_of_result=lambda eqx: type(eqx.filter_jit(lambda x: x)).__name__ != "function",
)


short(
    "filter_jit",
    lower=lambda eqx: eqx.filter_jit(lambda x: x + 1).lower(jnp.ones(2)).compile()(jnp.ones(2)),
    lower_static=lambda eqx: (
        eqx.filter_jit(lambda x, s: (x, s)).lower(jnp.ones(2), "s").compile()(jnp.zeros(2), "s")
    ),
    lower_keywords=lambda eqx: (
        eqx.filter_jit(lambda x, *, y: x + y)
        .lower(jnp.ones(2), y=jnp.ones(2))
        .compile()(jnp.zeros(2), y=jnp.zeros(2))
    ),
    lower_struct=lambda eqx: (
        eqx.filter_jit(lambda x: x + 1)
        .lower(jax.ShapeDtypeStruct((2,), jnp.float32))
        .compile()(jnp.ones(2))
    ),
    lower_text=lambda eqx: "add" in eqx.filter_jit(lambda x: x + 1).lower(jnp.ones(2)).as_text(),
    lower_wrong_shape=lambda eqx: (
        eqx.filter_jit(lambda x: x + 1).lower(jnp.ones(2)).compile()(jnp.ones(3))
    ),
    compiled_text=lambda eqx: isinstance(
        eqx.filter_jit(lambda x: x + 1).lower(jnp.ones(2)).compile().as_text(), str
    ),
    cost_analysis=lambda eqx: (
        "flops" in eqx.filter_jit(lambda x: x + 1).lower(jnp.ones(2)).compile().cost_analysis()
    ),
    trace=lambda eqx: hasattr(eqx.filter_jit(lambda x: x + 1), "trace"),
    lower_method=lambda eqx: (
        eqx.filter_jit(linear(eqx).__call__).lower(jnp.ones(2)).compile()(jnp.ones(2))
    ),
)


@program("filter_jit")
def method_of_a_module(eqx):
    traces = []

    class A(eqx.Module):
        w: jax.Array
        s: str = eqx.field(static=True)

        @eqx.filter_jit
        def __call__(self, x):
            traces.append(self.s)
            return self.w * x

    results = [A(jnp.ones(2), s)(2.0) for s in ("a", "b", "a")]
    return results, traces


@program("filter_jit")
def method_of_a_plain_class(eqx):
    class A:
        def __init__(self, w):
            self.w = w

        @eqx.filter_jit
        def f(self, x):
            return self.w * x

    return A(2.0).f(jnp.ones(2))


@program("filter_jit")
def method_donates_all_but_self(eqx):
    class A(eqx.Module):
        w: jax.Array

        @eqx.filter_jit(donate="all-except-first")
        def f(self, x):
            return self.w + x

    a, x = A(jnp.ones(2)), jnp.ones(2)
    return a.f(x), a.w.is_deleted(), x.is_deleted()


@program("filter_jit")
def closed_over_model(eqx):
    model = linear(eqx)
    return eqx.filter_jit(lambda x: model(x))(jnp.ones(2))


@program("filter_jit")
def returned_module_keeps_static(eqx):
    @eqx.filter_jit
    def make():
        return eqx.nn.MLP(2, 1, 2, 1, activation=jnp.tanh, key=jax.random.PRNGKey(0))

    return make().activation is jnp.tanh, make().layers[0].weight


@program("filter_jit")
def static_output_per_signature(eqx):
    f = eqx.filter_jit(lambda x: x.shape)
    return f(jnp.ones(2)), f(jnp.ones(3)), f(jnp.ones(2))


@program("filter_jit")
def training_step(eqx):
    @eqx.filter_jit
    def step(model, x, y):
        loss, grads = eqx.filter_value_and_grad(lambda m: jnp.mean((jax.vmap(m)(x) - y) ** 2))(
            model
        )
        return loss, eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, grads))

    model, losses = linear(eqx), []
    for _ in range(3):
        loss, model = step(model, jnp.ones((4, 2)), jnp.zeros((4, 3)))
        losses.append(loss)
    return losses, model


@program("filter_jit")
def leaked_tracer(eqx):
    leaked = []
    eqx.filter_jit(lambda x: leaked.append(x))(jnp.ones(1))
    return leaked[0] + 1


@program("clear_caches")
def clear_caches(eqx):
    traces = []
    f = eqx.filter_jit(lambda x: (traces.append(1), x)[1])
    f(jnp.ones(1))
    eqx.clear_caches()
    f(jnp.ones(1))
    return len(traces)


@program("clear_caches")
def clear_caches_returns(eqx):
    return eqx.clear_caches()


short(
    "filter_eval_shape",
    arrays=lambda eqx: eqx.filter_eval_shape(lambda x: x @ x, jnp.ones((2, 2))),
    static=lambda eqx: eqx.filter_eval_shape(lambda x, s: (x, s, None, 3), jnp.ones(2), "s"),
    model=lambda eqx: eqx.filter_eval_shape(eqx.nn.Linear, 2, 3, key=jax.random.PRNGKey(0)),
    key_inside=lambda eqx: eqx.filter_eval_shape(
        lambda: eqx.nn.Linear(2, 3, key=jax.random.key(0))
    ),
    structs=lambda eqx: eqx.filter_eval_shape(
        lambda x: x.sum(0), jax.ShapeDtypeStruct((2, 3), jnp.int32)
    ),
    keywords=lambda eqx: eqx.filter_eval_shape(lambda x, *, y: x + y, 1.0, y=jnp.ones(2)),
    python=lambda eqx: eqx.filter_eval_shape(lambda x: x + 1, 1),
    numpy=lambda eqx: eqx.filter_eval_shape(lambda x: x, np.ones(2, "f4")),
    error=lambda eqx: eqx.filter_eval_shape(lambda x: x + jnp.ones(3), jnp.ones(2)),
    function=lambda eqx: eqx.filter_eval_shape(lambda: jnp.sin) is jnp.sin,
    under_jit=lambda eqx: (
        lambda out: (jax.jit(lambda x: out.append(eqx.filter_eval_shape(jnp.sin, x)))(1.0), out)[1]
    )([]),
    no_computation=lambda eqx: eqx.filter_eval_shape(lambda: jnp.zeros((10**6, 10**6))),
)
short(
    "internal.cached_filter_eval_shape",
    value=lambda eqx: eqx.internal.cached_filter_eval_shape(
        lambda x, s: (x * 2, s), jnp.ones(2), "s"
    ),
    cached=lambda eqx: cached(eqx),
    keywords=lambda eqx: eqx.internal.cached_filter_eval_shape(
        lambda x, *, y: x + y, 1.0, y=jnp.ones(2)
    ),
)


def cached(eqx):
    calls = []

    def f(x):
        calls.append(1)
        return x

    for _ in range(3):
        eqx.internal.cached_filter_eval_shape(f, jnp.ones(2))
    return len(calls)


def jaxpr(eqx, f, *args, **kwargs):
    closed, dynamic, static = eqx.filter_make_jaxpr(f)(*args, **kwargs)
    return str(closed), dynamic, static


short(
    "filter_make_jaxpr",
    simple=lambda eqx: jaxpr(eqx, lambda x: x * 2, jnp.ones(2)),
    static=lambda eqx: jaxpr(eqx, lambda x, s: (x * 2, s), jnp.ones(2), "s"),
    model=lambda eqx: jaxpr(eqx, lambda m, x: m.weight @ x, linear(eqx), jnp.ones(2))[:2],
    keywords=lambda eqx: jaxpr(eqx, lambda x, *, y: x + y, jnp.ones(2), y=jnp.ones(2)),
    structs=lambda eqx: jaxpr(eqx, lambda x: x * 2, jax.ShapeDtypeStruct((2,), jnp.float32)),
    python_numbers=lambda eqx: jaxpr(eqx, lambda x, n: x * n, jnp.ones(2), 3),
)


def callback(eqx, f, *args, **kwargs):
    return jax.jit(lambda *a: eqx.filter_pure_callback(f, *a, **kwargs))(*args)


short(
    "filter_pure_callback",
    eager=lambda eqx: eqx.filter_pure_callback(
        lambda x: np.asarray(x) + 1,
        jnp.ones(2),
        result_shape_dtypes=jax.ShapeDtypeStruct((2,), jnp.float32),
    ),
    jitted=lambda eqx: callback(
        eqx, lambda x: np.asarray(x) + 1, jnp.ones(2), result_shape_dtypes=jnp.ones(2)
    ),
    static_argument=lambda eqx: eqx.filter_pure_callback(
        lambda x, s: np.asarray(x) + len(s), jnp.ones(2), "abc", result_shape_dtypes=jnp.ones(2)
    ),
    static_result=lambda eqx: eqx.filter_pure_callback(
        lambda x: (np.asarray(x), "s"), jnp.ones(2), result_shape_dtypes=(jnp.ones(2), "s")
    ),
    keyword=lambda eqx: eqx.filter_pure_callback(
        lambda x, *, y: np.asarray(x) + y, jnp.ones(2), y=2, result_shape_dtypes=jnp.ones(2)
    ),
    model=lambda eqx: eqx.filter_pure_callback(
        lambda m, x: np.asarray(m.weight) @ np.asarray(x),
        linear(eqx),
        jnp.ones(2),
        result_shape_dtypes=jnp.ones(3),
    ),
    vmapped=lambda eqx: jax.vmap(
        lambda x: eqx.filter_pure_callback(
            lambda x: np.asarray(x) * 2,
            x,
            result_shape_dtypes=jnp.ones(()),
            vmap_method="sequential",
        )
    )(jnp.arange(3.0)),
    vmapped_expand=lambda eqx: jax.vmap(
        lambda x: eqx.filter_pure_callback(
            lambda x: np.asarray(x) * 2,
            x,
            result_shape_dtypes=jnp.ones(()),
            vmap_method="expand_dims",
        )
    )(jnp.arange(3.0)),
    vmapped_without=lambda eqx: jax.vmap(
        lambda x: eqx.filter_pure_callback(
            lambda x: np.asarray(x) * 2, x, result_shape_dtypes=jnp.ones(())
        )
    )(jnp.arange(3.0)),
    vectorized=lambda eqx: eqx.filter_pure_callback(
        lambda x: np.asarray(x) * 2, jnp.ones(2), result_shape_dtypes=jnp.ones(2), vectorized=True
    ),
    grad=lambda eqx: jax.grad(
        lambda x: eqx.filter_pure_callback(lambda x: np.asarray(x), x, result_shape_dtypes=x)
    )(1.0),
    no_shape=lambda eqx: eqx.filter_pure_callback(lambda x: x, 1.0),
)


@program("filter_shard")
def shard_to_a_device(eqx):
    x = eqx.filter_shard({"x": jnp.ones(2), "s": "text"}, jax.devices()[1])
    return x, [d.id for d in x["x"].devices()]


@program("filter_shard")
def shard_over_a_mesh(eqx):
    mesh = jax.make_mesh((2,), ("d",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    x = eqx.filter_shard([jnp.arange(4.0), "s"], sharding)
    return x, str(x[0].sharding.spec)


@program("filter_shard")
def shard_inside_jit(eqx):
    mesh = jax.make_mesh((2,), ("d",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))

    @eqx.filter_jit
    def f(x):
        return eqx.filter_shard(x, sharding) * 2

    y = f(jnp.arange(4.0))
    return y, len(y.sharding.device_set)


@program("filter_shard")
def shard_a_model(eqx):
    mesh = jax.make_mesh((2,), ("d",))
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return eqx.filter_shard(linear(eqx), replicated)


@program("filter_shard")
def shard_prefix(eqx):
    devices = jax.devices()

    return eqx.filter_shard((jnp.ones(2), jnp.zeros(2)), (devices[0], devices[1]))


def pmap(eqx, f, *args, **options):
    return eqx.filter_pmap(f, **options)(*args)


short(
    "filter_pmap",
    simple=lambda eqx: pmap(eqx, lambda x: x + 1, jnp.arange(2.0)),
    static=lambda eqx: pmap(eqx, lambda x, s: (x, s), jnp.arange(2.0), "s", in_axes=(0, None)),
    model=lambda eqx: pmap(
        eqx, lambda m, x: m(x), linear(eqx), jnp.ones((2, 2)), in_axes=(None, 0)
    ),
    axis_name=lambda eqx: pmap(eqx, lambda x: jax.lax.psum(x, "d"), jnp.arange(2.0), axis_name="d"),
    out_axes_none=lambda eqx: pmap(
        eqx, lambda x: jax.lax.psum(x, "d"), jnp.arange(2.0), axis_name="d", out_axes=None
    ),
    too_many=lambda eqx: pmap(eqx, lambda x: x, jnp.arange(3.0)),
)
