"""What libraries are built from: primitives, batch-wide reductions, barriers, finalisation."""

import jax
import jax.numpy as jnp
from registry import program, short


def linear(eqx):
    return eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0))


short(
    "internal.unvmap_any",
    plain=lambda eqx: eqx.internal.unvmap_any(jnp.array([False, True])),
    vmapped=lambda eqx: jax.vmap(eqx.internal.unvmap_any, out_axes=None)(jnp.array([False, True])),
    jit_vmapped=lambda eqx: jax.jit(jax.vmap(eqx.internal.unvmap_any, out_axes=None))(
        jnp.zeros((2, 2), bool)
    ),
    nested=lambda eqx: jax.vmap(jax.vmap(eqx.internal.unvmap_any, out_axes=None), out_axes=None)(
        jnp.eye(2, dtype=bool)
    ),
    number=lambda eqx: eqx.internal.unvmap_any(jnp.array([0.0, 2.0])),
)
short(
    "internal.unvmap_all",
    plain=lambda eqx: eqx.internal.unvmap_all(jnp.array([False, True])),
    vmapped=lambda eqx: jax.vmap(eqx.internal.unvmap_all, out_axes=None)(jnp.array([True, True])),
)
short(
    "internal.unvmap_max",
    plain=lambda eqx: eqx.internal.unvmap_max(jnp.array([1, 3])),
    vmapped=lambda eqx: jax.vmap(eqx.internal.unvmap_max, out_axes=None)(jnp.array([1, 3])),
    float=lambda eqx: jax.vmap(eqx.internal.unvmap_max, out_axes=None)(jnp.array([1.5, -3])),
    jvp=lambda eqx: jax.jvp(eqx.internal.unvmap_max, (jnp.array([1.5, 3.0]),), (jnp.ones(2),)),
)


@program("internal.unvmap_any_p", "internal.unvmap_all_p", "internal.unvmap_max_p")
def unvmap_primitives(eqx):
    i = eqx.internal
    x = jnp.array([True, False])
    return i.unvmap_any_p.bind(x), i.unvmap_all_p.bind(x), i.unvmap_max_p.bind(jnp.arange(3))


@program(
    "internal.nonbatchable_p",
    "internal.nondifferentiable_backward_p",
    "internal.nontraceable_p",
    "internal.noinline_p",
    "internal.maybe_set_p",
    "internal.select_if_vmap_p",
)
def primitives(eqx):
    names = "nonbatchable nondifferentiable_backward nontraceable noinline maybe_set select_if_vmap"
    return [str(getattr(eqx.internal, f"{name}_p")) for name in names.split()]


@program("internal.select_if_vmap_p")
def select_if_vmap(eqx):
    p = eqx.internal.select_if_vmap_p

    def f(pred, x, y):
        return p.bind(pred, x, y)

    plain = f(jnp.array(False), jnp.array(1.0), jnp.array(2.0))
    mapped = jax.vmap(f)(jnp.array([True, False]), jnp.zeros(2), jnp.ones(2))
    return plain, mapped


short(
    "internal.nonbatchable",
    plain=lambda eqx: eqx.internal.nonbatchable({"x": jnp.ones(2), "s": "s"}),
    vmapped=lambda eqx: jax.vmap(eqx.internal.nonbatchable)(jnp.ones(2)),
    vmapped_constant=lambda eqx: jax.vmap(
        lambda x: eqx.internal.nonbatchable(jnp.ones(())), axis_size=2, in_axes=None
    )(1),
    allowed=lambda eqx: jax.vmap(
        lambda x: eqx.internal.nonbatchable(x, allow_constant_across_batch=True)
    )(jnp.ones(2)),
    jit=lambda eqx: jax.jit(eqx.internal.nonbatchable)(jnp.ones(2)),
    grad=lambda eqx: jax.grad(lambda x: eqx.internal.nonbatchable(x) ** 2)(2.0),
    named=lambda eqx: jax.vmap(lambda x: eqx.internal.nonbatchable(x, name="thing"))(jnp.ones(2)),
)
short(
    "internal.nondifferentiable",
    plain=lambda eqx: eqx.internal.nondifferentiable({"x": jnp.ones(2), "s": "s"}),
    grad=lambda eqx: jax.grad(eqx.internal.nondifferentiable)(1.0),
    jvp=lambda eqx: jax.jvp(eqx.internal.nondifferentiable, (1.0,), (1.0,)),
    not_perturbed=lambda eqx: jax.grad(
        lambda x: x * eqx.internal.nondifferentiable(jnp.array(2.0))
    )(1.0),
    vmapped=lambda eqx: jax.vmap(eqx.internal.nondifferentiable)(jnp.ones(2)),
    message=lambda eqx: jax.grad(lambda x: eqx.internal.nondifferentiable(x, msg="no"))(1.0),
    stopped=lambda eqx: jax.grad(
        lambda x: x * eqx.internal.nondifferentiable(jax.lax.stop_gradient(x))
    )(2.0),
)
short(
    "internal.nondifferentiable_backward",
    plain=lambda eqx: eqx.internal.nondifferentiable_backward({"x": jnp.ones(2), "s": "s"}),
    grad=lambda eqx: jax.grad(eqx.internal.nondifferentiable_backward)(1.0),
    jvp=lambda eqx: jax.jvp(
        eqx.internal.nondifferentiable_backward, (jnp.ones(2),), (jnp.ones(2),)
    ),
    vmapped=lambda eqx: jax.vmap(eqx.internal.nondifferentiable_backward)(jnp.ones(2)),
    not_symbolic=lambda eqx: jax.grad(
        lambda x: eqx.internal.nondifferentiable_backward(x, symbolic=False) * 0.0
    )(1.0),
    symbolic=lambda eqx: jax.grad(lambda x: eqx.internal.nondifferentiable_backward(x) * 0.0)(1.0),
)
short(
    "internal.nontraceable",
    plain=lambda eqx: eqx.internal.nontraceable(jnp.ones(2)),
    jit=lambda eqx: jax.jit(eqx.internal.nontraceable)(jnp.ones(2)),
    vmapped=lambda eqx: jax.vmap(eqx.internal.nontraceable)(jnp.ones(2)),
    grad=lambda eqx: jax.grad(eqx.internal.nontraceable)(1.0),
    named=lambda eqx: jax.vmap(lambda x: eqx.internal.nontraceable(x, name="thing"))(jnp.ones(2)),
)
short(
    "internal.noinline",
    plain=lambda eqx: eqx.internal.noinline(lambda x, s: (x * 2, s))(jnp.ones(2), "s"),
    jit=lambda eqx: jax.jit(eqx.internal.noinline(lambda x: x * 2))(jnp.ones(2)),
    grad=lambda eqx: jax.grad(eqx.internal.noinline(lambda x: x**3))(2.0),
    vmapped=lambda eqx: jax.vmap(eqx.internal.noinline(lambda x: x * 2))(jnp.arange(2.0)),
    model=lambda eqx: eqx.internal.noinline(linear(eqx))(jnp.ones(2)),
    jvp=lambda eqx: jax.jvp(eqx.internal.noinline(jnp.sin), (1.0,), (2.0,)),
    abstract=lambda eqx: eqx.internal.noinline(lambda x: x * 2, lambda fn, x: x)(jnp.ones(2)),
    hessian=lambda eqx: jax.grad(jax.grad(eqx.internal.noinline(lambda x: x**3)))(2.0),
)


@program(
    "internal.filter_primitive_def",
    "internal.filter_primitive_bind",
    "internal.filter_primitive_jvp",
    "internal.filter_primitive_batching",
)
def primitive_of_trees(eqx):
    import jax.extend.core
    from jax.interpreters import ad, batching

    i = eqx.internal
    prim = jax.extend.core.Primitive("doubling")
    prim.multiple_results = True

    @i.filter_primitive_def
    def impl(x, s):
        return jax.tree.map(lambda v: v * 2, x), s

    @i.filter_primitive_def
    def abstract(x, s):
        return x, s

    @i.filter_primitive_jvp
    def jvp(primals, tangents):
        (x, s), (tx, _) = primals, tangents
        out = i.filter_primitive_bind(prim, x, s)
        return out, (jax.tree.map(lambda v: 20 * v, tx), None)

    @i.filter_primitive_batching
    def batch(values, axes):
        (x, s), (ax, _) = values, axes
        return i.filter_primitive_bind(prim, x, s), (ax, None)

    prim.def_impl(impl)
    prim.def_abstract_eval(abstract)
    ad.primitive_jvps[prim] = jvp
    batching.primitive_batchers[prim] = batch

    def f(x):
        return i.filter_primitive_bind(prim, {"x": x}, "s")

    return (
        f(jnp.ones(2)),
        jax.jvp(lambda x: f(x)[0], (jnp.ones(2),), (jnp.ones(2),)),
        jax.vmap(lambda x: f(x)[0])(jnp.arange(3.0)),
    )


@program(
    "internal.filter_primitive_transpose",
    "internal.filter_primitive_def",
    "internal.filter_primitive_bind",
)
def primitive_transposed(eqx):
    import jax.extend.core
    from jax.interpreters import ad, mlir

    i = eqx.internal
    prim = jax.extend.core.Primitive("tripling")
    prim.multiple_results = True

    @i.filter_primitive_def
    def impl(x):
        return jax.tree.map(lambda v: v * 3, x)

    @i.filter_primitive_def
    def abstract(x):
        return x

    @i.filter_primitive_transpose(materialise_zeros=True)
    def transpose(inputs, cotangents):
        return (jax.tree.map(lambda c: c * 3, cotangents),)

    prim.def_impl(impl)
    prim.def_abstract_eval(abstract)
    ad.primitive_transposes[prim] = transpose
    mlir.register_lowering(prim, mlir.lower_fun(impl, multiple_results=True))
    f = jax.linear_transpose(lambda x: i.filter_primitive_bind(prim, x), jnp.ones(2))
    return f(jnp.arange(2.0))


@program("internal.create_vprim")
def vprim(eqx):
    def impl(x, *, scale):
        return [x * scale]

    def abstract(x, *, scale):
        return [x]

    def jvp(primals, tangents, *, scale):
        (x,), (t,) = primals, tangents
        return [x * scale], [t * scale]

    def transpose(cotangents, x, *, scale):
        return [cotangents[0] * scale]

    prim = eqx.internal.create_vprim("scaling", impl, abstract, jvp, transpose)
    f = lambda x: prim.bind(x, scale=3.0)[0]  # noqa: E731
    return (
        f(jnp.ones(2)),
        jax.vmap(f)(jnp.arange(2.0)),
        jax.jit(f)(jnp.ones(1)),
        jax.jvp(f, (1.0,), (1.0,)),
    )


short(
    "internal.materialise_zeros",
    none=lambda eqx: eqx.internal.materialise_zeros(jnp.ones(2), None),
    given=lambda eqx: eqx.internal.materialise_zeros(jnp.ones(2), jnp.arange(2.0)),
    not_array=lambda eqx: eqx.internal.materialise_zeros("s", None),
    integer=lambda eqx: eqx.internal.materialise_zeros(jnp.arange(2), None),
    struct=lambda eqx: eqx.internal.materialise_zeros(
        jax.ShapeDtypeStruct((2,), jnp.float32), None, allow_struct=True
    ),
    half=lambda eqx: eqx.internal.materialise_zeros(jnp.ones(2, jnp.float16), None),
)
short(
    "internal.eval_empty",
    shapes=lambda eqx: jax.tree.map(
        jnp.shape, eqx.internal.eval_empty(lambda x: (x @ x, x[0]), jnp.ones((2, 2)))
    ),
    static=lambda eqx: eqx.internal.eval_empty(lambda x: "s", jnp.ones(2)),
    integers=lambda eqx: eqx.internal.eval_empty(lambda x: x, jnp.arange(2)).dtype,
)
short(
    "internal.eval_zero",
    value=lambda eqx: eqx.internal.eval_zero(lambda x: (x @ x, x[0] > 0), jnp.ones((2, 2))),
    static=lambda eqx: eqx.internal.eval_zero(lambda x: (x, "s"), jnp.ones(2)),
)


@program("internal.scan_trick")
def scan_trick(eqx):
    def fn(carry):
        return carry * 2

    return eqx.internal.scan_trick(fn, [lambda c: c + 1, lambda c: c + 10], jnp.array(1.0))


@program("internal.scan_trick")
def scan_trick_tree(eqx):
    def fn(carry):
        return carry["a"] * 2

    steps = [lambda out: {"a": out + 1, "s": "s"}]
    return eqx.internal.scan_trick(fn, steps, {"a": jnp.array(1.0), "s": "s"})


short(
    "internal.finalise_fn",
    value=lambda eqx: eqx.internal.finalise_fn(lambda x, s: (x * 2, s))(jnp.ones(2), "s"),
    removes_barriers=lambda eqx: jax.vmap(
        eqx.internal.finalise_fn(lambda x: eqx.internal.nonbatchable(x))
    )(jnp.ones(2)),
    removes_checks=lambda eqx: str(
        jax.make_jaxpr(eqx.internal.finalise_fn(lambda x: eqx.internal.nondifferentiable(x)))(1.0)
    ),
)


@program("internal.finalise_jaxpr", "internal.finalise_jaxpr_as_fn", "internal.finalise_eval_jaxpr")
def finalise_jaxprs(eqx):
    i = eqx.internal
    closed = jax.make_jaxpr(lambda x: i.nondifferentiable(x) * 2)(jnp.ones(2))
    return (
        str(i.finalise_jaxpr(closed)),
        i.finalise_jaxpr_as_fn(closed)(jnp.ones(2)),
        i.finalise_eval_jaxpr(closed.jaxpr, closed.consts, jnp.ones(2)),
    )


@program("internal.finalise_make_jaxpr")
def finalise_make_jaxpr(eqx):
    made = eqx.internal.finalise_make_jaxpr(lambda x: eqx.internal.nonbatchable(x) * 2)(jnp.ones(2))
    both = eqx.internal.finalise_make_jaxpr(lambda x: x * 2, return_shape=True)(jnp.ones(2))
    return str(made), str(both[0]), both[1]


@program("internal.primitive_finalisations", "internal.register_impl_finalisation")
def finalisations(eqx):
    import jax.extend.core

    i = eqx.internal
    prim = jax.extend.core.Primitive("quadrupling")
    prim.def_impl(lambda x: x * 4)
    prim.def_abstract_eval(lambda x: x)
    i.register_impl_finalisation(prim)
    closed = jax.make_jaxpr(prim.bind)(jnp.ones(2))
    return prim in i.primitive_finalisations, i.finalise_jaxpr_as_fn(closed)(jnp.ones(2))


short(
    "internal.to_onnx",
    made=lambda eqx: callable(eqx.internal.to_onnx(lambda x: x * 2)),
)


# Buffers.


short(
    "internal.buffer_at_set",
    array=lambda eqx: eqx.internal.buffer_at_set(jnp.zeros(3), 1, 5.0),
    predicate=lambda eqx: eqx.internal.buffer_at_set(jnp.zeros(3), 1, 5.0, pred=False),
    predicate_array=lambda eqx: eqx.internal.buffer_at_set(
        jnp.zeros(3), 1, 5.0, pred=jnp.array(True)
    ),
    slices=lambda eqx: eqx.internal.buffer_at_set(jnp.zeros((3, 2)), (slice(None), 0), 1.0),
    mode=lambda eqx: eqx.internal.buffer_at_set(jnp.zeros(3), 7, 1.0, mode="drop"),
    grad=lambda eqx: jax.grad(lambda x: eqx.internal.buffer_at_set(jnp.ones(3), 1, x).sum())(2.0),
)


@program("internal.MaybeBuffer")
def maybe_buffer(eqx):
    return isinstance(eqx.internal.MaybeBuffer, type), hasattr(
        eqx.internal.MaybeBuffer, "__getitem__"
    )


# Progress meters.


def meter(eqx, m):
    state = m.init()
    for p in (0.0, 0.3, 1.0):
        state = m.step(state, jnp.array(p))
    m.close(state)
    jax.effects_barrier()


@program("internal.NoProgressMeter")
def no_meter(eqx):
    return meter(eqx, eqx.internal.NoProgressMeter()), eqx.internal.NoProgressMeter()


@program("internal.TextProgressMeter")
def text_meter(eqx):
    return eqx.internal.TextProgressMeter(), eqx.internal.TextProgressMeter(0.5).minimum_increase


@program("internal.TextProgressMeter")
def text_meter_prints(eqx):
    meter(eqx, eqx.internal.TextProgressMeter(minimum_increase=0.1))


@program("internal.TqdmProgressMeter")
def tqdm_meter(eqx):
    return eqx.internal.TqdmProgressMeter(), eqx.internal.TqdmProgressMeter(5).refresh_steps


@program("internal.AbstractProgressMeter")
def abstract_meter(eqx):
    return eqx.internal.AbstractProgressMeter()


@program("internal.AbstractProgressMeter", "internal.TextProgressMeter", "internal.NoProgressMeter")
def meters_are_meters(eqx):
    i = eqx.internal
    return [
        issubclass(m, i.AbstractProgressMeter) for m in (i.TextProgressMeter, i.NoProgressMeter)
    ]
