"""Derivatives, rules of one's own, and what saves memory."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
from registry import program, short


def linear(eqx):
    return eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0))


def loss(model):
    return jnp.sum(model(jnp.arange(2.0)) ** 2)


TREE = {
    "w": jnp.arange(3.0),
    "i": jnp.arange(2),
    "f": 2.0,
    "s": "text",
    "n": np.ones(2),
    "fn": jnp.sin,
}


def energy(tree, scale=1.0):
    return scale * jnp.sum(tree["fn"](tree["w"])) * tree["f"]


short(
    "filter_grad",
    model=lambda eqx: eqx.filter_grad(loss)(linear(eqx)),
    tree=lambda eqx: eqx.filter_grad(energy)(TREE),
    keyword=lambda eqx: eqx.filter_grad(energy)(TREE, scale=3.0),
    second_argument=lambda eqx: eqx.filter_grad(lambda x, y: x * y)(jnp.array(2.0), jnp.array(3.0)),
    tuple=lambda eqx: eqx.filter_grad(lambda xy: xy[0] * xy[1])((jnp.array(2.0), jnp.array(3.0))),
    has_aux=lambda eqx: eqx.filter_grad(lambda x: (x**2, ("aux", x)), has_aux=True)(jnp.array(2.0)),
    has_aux_missing=lambda eqx: eqx.filter_grad(lambda x: x**2, has_aux=True)(jnp.array(2.0)),
    python_float=lambda eqx: eqx.filter_grad(lambda x: x**2)(2.0),
    python_float_beside=lambda eqx: eqx.filter_grad(lambda x: x[0] * x[1])((jnp.array(2.0), 3.0)),
    integer=lambda eqx: eqx.filter_grad(lambda x: x[0] * x[1])((jnp.array(2.0), jnp.array(3))),
    integer_alone=lambda eqx: eqx.filter_grad(lambda x: 1.0 * x)(jnp.array(3)),
    not_scalar=lambda eqx: eqx.filter_grad(lambda x: x)(jnp.ones(2)),
    not_float=lambda eqx: eqx.filter_grad(lambda x: x.astype(int))(jnp.array(1.0)),
    returns_python=lambda eqx: eqx.filter_grad(lambda x: 1.0)(jnp.array(1.0)),
    returns_none=lambda eqx: eqx.filter_grad(lambda x: None)(jnp.array(1.0)),
    complex=lambda eqx: eqx.filter_grad(lambda z: jnp.abs(z) ** 2)(jnp.array(1 + 2j)),
    numpy=lambda eqx: eqx.filter_grad(lambda x: (x**2).sum())(np.ones(2, "f4")),
    none_in_tree=lambda eqx: eqx.filter_grad(lambda t: t[0] ** 2)((jnp.array(2.0), None)),
    no_arguments=lambda eqx: eqx.filter_grad(lambda: 1.0)(),
    decorated=lambda eqx: eqx.filter_grad(has_aux=True)(lambda x: (x, 1))(jnp.array(1.0)),
    name=lambda eqx: eqx.filter_grad(energy).__name__,
    signature=lambda eqx: str(inspect.signature(eqx.filter_grad(energy))),
    argnums=lambda eqx: eqx.filter_grad(lambda x, y: x * y, argnums=1)(1.0, 2.0),
    arg=lambda eqx: eqx.filter_grad(lambda x, y: x * y, arg=True)(1.0, 2.0),
    holomorphic=lambda eqx: eqx.filter_grad(lambda z: z**2, holomorphic=True)(jnp.array(1 + 2j)),
    allow_int=lambda eqx: eqx.filter_grad(lambda x: 1.0 * x, allow_int=True)(jnp.array(2.0)),
    second=lambda eqx: eqx.filter_grad(eqx.filter_grad(lambda x: x**3))(jnp.array(2.0)),
    of_module=lambda eqx: eqx.filter_grad(Squared(eqx))(jnp.array(3.0)),
    keys=lambda eqx: eqx.filter_grad(lambda t: t[0] * jax.random.uniform(t[1]))(
        (jnp.array(2.0), jax.random.PRNGKey(0))
    ),
    vmapped=lambda eqx: jax.vmap(eqx.filter_grad(lambda x: x**2))(jnp.arange(3.0)),
    shared=lambda eqx: (lambda x: eqx.filter_grad(lambda t: t[0] * t[1])([x, x]))(jnp.array(3.0)),
    unused=lambda eqx: eqx.filter_grad(lambda t: t[0] ** 2)([jnp.array(3.0), jnp.ones(2)]),
    partial_training=lambda eqx: eqx.filter_grad(lambda d, s: loss(eqx.combine(d, s)))(
        *eqx.partition(
            linear(eqx),
            eqx.tree_at(lambda m: m.bias, jax.tree.map(lambda _: False, linear(eqx)), True),
        )
    ),
)


def Squared(eqx):
    class Power(eqx.Module):
        p: int

        def __call__(self, x):
            return x**self.p

    return Power(2)


short(
    "filter_value_and_grad",
    model=lambda eqx: eqx.filter_value_and_grad(loss)(linear(eqx)),
    has_aux=lambda eqx: eqx.filter_value_and_grad(lambda x: (x**2, {"a": "b"}), has_aux=True)(
        jnp.array(2.0)
    ),
    keyword=lambda eqx: eqx.filter_value_and_grad(energy)(TREE, scale=2.0),
    decorator=lambda eqx: eqx.filter_value_and_grad()(lambda x: x**2)(jnp.array(2.0)),
    not_scalar=lambda eqx: eqx.filter_value_and_grad(lambda x: x)(jnp.ones(2)),
    order=lambda eqx: type(eqx.filter_value_and_grad(lambda x: x)(jnp.array(1.0))).__name__,
    aux_function=lambda eqx: (
        eqx.filter_value_and_grad(lambda x: (x, jnp.sin), has_aux=True)(jnp.array(1.0))[0][1]
        is jnp.sin
    ),
)


def vector(x):
    return jnp.stack([x[0] * x[1], x[1] ** 2, jnp.sin(x[0])])


for which in ("filter_jacfwd", "filter_jacrev"):

    def jac(eqx, *args, which=which, **options):
        return getattr(eqx, which)(*args, **options)

    short(
        which,
        vector=lambda eqx, j=jac: j(eqx, vector)(jnp.arange(2.0)),
        tree=lambda eqx, j=jac: j(eqx, lambda t: {"o": t["a"] * t["b"]})(
            {"a": jnp.arange(2.0), "b": jnp.ones(2), "s": "x"}
        ),
        model=lambda eqx, j=jac: j(eqx, lambda m: m(jnp.arange(2.0)))(linear(eqx)),
        has_aux=lambda eqx, j=jac: j(eqx, lambda x: (vector(x), "aux"), has_aux=True)(
            jnp.arange(2.0)
        ),
        static_output=lambda eqx, j=jac: j(eqx, lambda x: (x * 2, "text"))(jnp.arange(2.0)),
        further=lambda eqx, j=jac: j(eqx, lambda x, y, *, z: x * y * z)(
            jnp.arange(2.0), 2.0, z=3.0
        ),
        integer=lambda eqx, j=jac: j(eqx, lambda t: t[0] * t[1])((jnp.arange(2.0), jnp.arange(2))),
        scalar=lambda eqx, j=jac: j(eqx, jnp.sin)(jnp.array(1.0)),
        integer_output=lambda eqx, j=jac: j(eqx, lambda x: (x, jnp.arange(2)))(jnp.arange(2.0)),
        python=lambda eqx, j=jac: j(eqx, lambda t: t[0] * t[1])((jnp.arange(2.0), 3.0)),
    )

short(
    "filter_hessian",
    scalar=lambda eqx: eqx.filter_hessian(lambda x: jnp.sum(jnp.tanh(x) ** 2))(jnp.arange(2.0)),
    relu=lambda eqx: eqx.filter_hessian(jax.nn.relu)(jnp.array(1.0)),
    has_aux=lambda eqx: eqx.filter_hessian(lambda x: (x**3, "aux"), has_aux=True)(jnp.array(2.0)),
    tree=lambda eqx: eqx.filter_hessian(lambda t: t["a"] ** 2 * t["b"])(
        {"a": jnp.array(2.0), "b": jnp.array(3.0), "s": "x"}
    ),
    further=lambda eqx: eqx.filter_hessian(lambda x, y: x**2 * y)(jnp.array(2.0), 3.0),
)

short(
    "filter_jvp",
    simple=lambda eqx: eqx.filter_jvp(jnp.sin, (1.0,), (2.0,)),
    arrays=lambda eqx: eqx.filter_jvp(
        lambda x, y: x * y, (jnp.ones(2), jnp.arange(2.0)), (jnp.ones(2),) * 2
    ),
    none_tangent=lambda eqx: eqx.filter_jvp(
        lambda x, y: x * y, (jnp.ones(2), jnp.arange(2.0)), (jnp.ones(2), None)
    ),
    all_none=lambda eqx: eqx.filter_jvp(lambda x: x * 2, (jnp.ones(2),), (None,)),
    static=lambda eqx: eqx.filter_jvp(
        lambda x, s: (x * 2, s), (jnp.ones(2), "s"), (jnp.ones(2), None)
    ),
    tree=lambda eqx: eqx.filter_jvp(
        lambda t: t["a"] * t["b"],
        ({"a": jnp.array(2.0), "b": jnp.array(3.0)},),
        ({"a": jnp.array(1.0), "b": None},),
    ),
    model=lambda eqx: eqx.filter_jvp(
        loss, (linear(eqx),), (eqx.filter(linear(eqx), eqx.is_inexact_array),)
    ),
    integer_output=lambda eqx: eqx.filter_jvp(lambda x: (x, jnp.array(1)), (1.0,), (1.0,)),
    keywords=lambda eqx: eqx.filter_jvp(lambda x, y: x * y, (1.0,), (1.0,), y=3.0),
    wrong_shape=lambda eqx: eqx.filter_jvp(jnp.sin, (jnp.ones(2),), (jnp.ones(3),)),
    wrong_structure=lambda eqx: eqx.filter_jvp(jnp.sin, (jnp.ones(2),), (jnp.ones(2), 1.0)),
    not_tuples=lambda eqx: eqx.filter_jvp(jnp.sin, [1.0], [1.0]),
    integer_tangent=lambda eqx: eqx.filter_jvp(lambda x: x, (jnp.array(1),), (jnp.array(1),)),
    jitted=lambda eqx: eqx.filter_jit(lambda x: eqx.filter_jvp(lambda x: x**3, (x,), (x,)))(
        jnp.array(2.0)
    ),
    dtype=lambda eqx: eqx.filter_jvp(jnp.sin, (jnp.ones(2, jnp.float16),), (jnp.ones(2),)),
    subtree_none=lambda eqx: eqx.filter_jvp(lambda t, x: x, ((jnp.ones(2), 1), 1.0), (None, 1.0)),
)


def pullback(eqx, f, *primals, cotangent=1.0, **options):
    out, vjp, *aux = eqx.filter_vjp(f, *primals, **options)
    return out, vjp(cotangent), aux


short(
    "filter_vjp",
    simple=lambda eqx: pullback(eqx, jnp.sin, jnp.array(1.0), cotangent=jnp.array(2.0)),
    two=lambda eqx: pullback(
        eqx, lambda x, y: x * y, jnp.array(2.0), jnp.array(3.0), cotangent=jnp.array(1.0)
    ),
    static=lambda eqx: pullback(
        eqx, lambda x, s: x * len(s), jnp.array(2.0), "abc", cotangent=jnp.array(1.0)
    ),
    static_output=lambda eqx: pullback(
        eqx, lambda x: (x, "s"), jnp.array(2.0), cotangent=(jnp.array(1.0), None)
    ),
    has_aux=lambda eqx: pullback(
        eqx, lambda x: (x**2, "aux"), jnp.array(2.0), cotangent=jnp.array(1.0), has_aux=True
    ),
    model=lambda eqx: pullback(
        eqx, lambda m, x: m(x), linear(eqx), jnp.ones(2), cotangent=jnp.ones(3)
    ),
    integer=lambda eqx: pullback(
        eqx, lambda x, i: x * i, jnp.array(2.0), jnp.array(3), cotangent=jnp.array(1.0)
    ),
    wrong_cotangent=lambda eqx: pullback(eqx, lambda x: x, jnp.ones(2), cotangent=jnp.ones(3)),
    returns_function=lambda eqx: len(eqx.filter_vjp(lambda x: x, 1.0)),
    python=lambda eqx: pullback(eqx, lambda x: x * 2, 3.0, cotangent=jnp.array(1.0)),
    integer_output=lambda eqx: pullback(
        eqx, lambda x: (x, jnp.array(3)), jnp.array(2.0), cotangent=(jnp.array(1.0), None)
    ),
)


def custom_jvp(eqx):
    @eqx.filter_custom_jvp
    def f(x, y, *, s):
        return x * y

    @f.def_jvp
    def rule(primals, tangents, *, s):
        x, y = primals
        tx, ty = tangents
        out = x * y
        t = 10 * (tx if tx is not None else 0) + 100 * (ty if ty is not None else 0)
        return out, t * jnp.ones_like(out)

    return f


short(
    "filter_custom_jvp",
    primal=lambda eqx: custom_jvp(eqx)(jnp.array(2.0), jnp.array(3.0), s="s"),
    jvp=lambda eqx: eqx.filter_jvp(
        lambda x: custom_jvp(eqx)(x, jnp.array(3.0), s="s"), (jnp.array(2.0),), (jnp.array(1.0),)
    ),
    grad=lambda eqx: jax.grad(lambda x: custom_jvp(eqx)(x, jnp.array(3.0), s="s"))(2.0),
    grad_both=lambda eqx: jax.grad(lambda x, y: custom_jvp(eqx)(x, y, s=None), argnums=(0, 1))(
        2.0, 3.0
    ),
    vmap_grad=lambda eqx: jax.vmap(jax.grad(lambda x: custom_jvp(eqx)(x, 3.0, s=1)))(
        jnp.arange(2.0)
    ),
    jit=lambda eqx: jax.jit(jax.grad(lambda x: custom_jvp(eqx)(x, 3.0, s=1)))(2.0),
    python=lambda eqx: custom_jvp(eqx)(2.0, 3.0, s="s"),
    no_rule=lambda eqx: eqx.filter_custom_jvp(lambda x: x)(jnp.array(1.0)),
    no_rule_grad=lambda eqx: jax.grad(eqx.filter_custom_jvp(lambda x: x))(1.0),
    name=lambda eqx: eqx.filter_custom_jvp(loss).__name__,
)


@program("filter_custom_jvp")
def custom_jvp_static_output(eqx):
    @eqx.filter_custom_jvp
    def f(x):
        return x * 2, "static"

    @f.def_jvp
    def rule(primals, tangents):
        return f(*primals), (3 * tangents[0], None)

    return jax.grad(lambda x: f(x)[0])(1.0), f(jnp.array(1.0))


@program("filter_custom_jvp")
def custom_jvp_old_name(eqx):
    @eqx.filter_custom_jvp
    def f(x):
        return x * 2

    f.defjvp(lambda primals, tangents: (f(*primals), 5 * tangents[0]))
    return jax.grad(f)(1.0)


@program("filter_custom_jvp")
def custom_jvps(eqx):
    @eqx.filter_custom_jvp
    def f(x, y):
        return x * y

    f.defjvps(lambda t, out, x, y: t * 7, None)
    return jax.grad(f)(1.0, 2.0)


@program("filter_custom_jvp")
def custom_jvp_module_argument(eqx):
    @eqx.filter_custom_jvp
    def f(model, x):
        return model(x)

    @f.def_jvp
    def rule(primals, tangents):
        model, x = primals
        t_model, t_x = tangents
        assert t_x is None
        return f(model, x), t_model.weight @ x

    return eqx.filter_grad(lambda m: f(m, jnp.ones(2)).sum())(linear(eqx))


@program("filter_custom_jvp")
def custom_jvp_wrong_tangent(eqx):
    @eqx.filter_custom_jvp
    def f(x):
        return x * 2

    @f.def_jvp
    def rule(primals, tangents):
        return f(*primals), jnp.ones(5)

    return jax.grad(f)(1.0)


def custom_vjp(eqx):
    @eqx.filter_custom_vjp
    def f(vjp_arg, y, s):
        return vjp_arg["x"] * y

    @f.def_fwd
    def fwd(perturbed, vjp_arg, y, s):
        return vjp_arg["x"] * y, (y, s)

    @f.def_bwd
    def bwd(residuals, grad_out, perturbed, vjp_arg, y, s):
        return {"x": grad_out * residuals[0] * 10, "n": None}

    return f


short(
    "filter_custom_vjp",
    primal=lambda eqx: custom_vjp(eqx)({"x": jnp.array(2.0), "n": 1}, jnp.array(3.0), "s"),
    grad=lambda eqx: eqx.filter_grad(lambda t: custom_vjp(eqx)(t, jnp.array(3.0), "s"))(
        {"x": jnp.array(2.0), "n": 1}
    ),
    grad_nondiff=lambda eqx: jax.grad(
        lambda y: custom_vjp(eqx)({"x": jnp.array(2.0), "n": 1}, y, "s")
    )(3.0),
    jit=lambda eqx: eqx.filter_jit(eqx.filter_grad(lambda t: custom_vjp(eqx)(t, 3.0, "s")))(
        {"x": jnp.array(2.0), "n": 1}
    ),
    vmap=lambda eqx: jax.vmap(jax.grad(lambda x: custom_vjp(eqx)({"x": x, "n": 1}, 3.0, "s")))(
        jnp.arange(2.0)
    ),
    no_rule=lambda eqx: eqx.filter_custom_vjp(lambda x: x)(jnp.array(1.0)),
    jvp=lambda eqx: jax.jvp(lambda x: custom_vjp(eqx)({"x": x, "n": 1}, 3.0, "s"), (2.0,), (1.0,)),
)


@program("filter_custom_vjp")
def custom_vjp_perturbed(eqx):
    seen = []

    @eqx.filter_custom_vjp
    def f(args):
        return args[0] * args[1]

    @f.def_fwd
    def fwd(perturbed, args):
        seen.append(perturbed)
        return f(args), None

    @f.def_bwd
    def bwd(residuals, g, perturbed, args):
        seen.append(perturbed)
        return (g, None)

    grads = jax.grad(lambda x: f((x, jnp.array(3.0))))(2.0)
    return grads, seen


@program("filter_custom_vjp")
def custom_vjp_defvjp(eqx):
    @eqx.filter_custom_vjp
    def f(x):
        return x * 2

    f.defvjp(lambda x: (f(x), None), lambda residuals, g, x: 9 * g)
    return jax.grad(f)(jnp.array(1.0))


@program("filter_custom_vjp")
def custom_vjp_static_output(eqx):
    @eqx.filter_custom_vjp
    def f(x):
        return x * 2, "text"

    @f.def_fwd
    def fwd(perturbed, x):
        return f(x), None

    @f.def_bwd
    def bwd(residuals, g, perturbed, x):
        return g[0] * 4

    return jax.grad(lambda x: f(x)[0])(jnp.array(1.0)), f(jnp.array(1.0))


short(
    "filter_checkpoint",
    value=lambda eqx: eqx.filter_checkpoint(lambda x, s: (x * 2, s))(jnp.ones(2), "s"),
    grad=lambda eqx: jax.grad(eqx.filter_checkpoint(lambda x: jnp.sin(jnp.sin(x))))(1.0),
    model=lambda eqx: eqx.filter_grad(lambda m: eqx.filter_checkpoint(m)(jnp.ones(2)).sum())(
        linear(eqx)
    ),
    policy=lambda eqx: jax.grad(
        eqx.filter_checkpoint(jnp.sin, policy=jax.checkpoint_policies.dots_saveable)
    )(1.0),
    decorator=lambda eqx: eqx.filter_checkpoint(prevent_cse=False)(jnp.sin)(jnp.array(0.0)),
    in_jaxpr=lambda eqx: (
        "remat" in str(jax.make_jaxpr(jax.grad(eqx.filter_checkpoint(jnp.sin)))(1.0))
        or "checkpoint" in str(jax.make_jaxpr(jax.grad(eqx.filter_checkpoint(jnp.sin)))(1.0))
    ),
    name=lambda eqx: eqx.filter_checkpoint(energy).__name__,
)


@program("filter_closure_convert")
def closure_convert(eqx):
    y = jnp.array(3.0)
    f = eqx.filter_closure_convert(lambda x: x * y, jnp.array(1.0))
    return f(jnp.array(2.0)), len([x for x in jax.tree.leaves(f) if eqx.is_array(x)])


@program("filter_closure_convert")
def closure_convert_grad(eqx):
    def outer(y):
        f = eqx.filter_closure_convert(lambda x: x * y, jnp.array(1.0))
        return f(jnp.array(2.0))

    return jax.grad(outer)(3.0)


@program("filter_closure_convert")
def closure_convert_wrong_shape(eqx):
    f = eqx.filter_closure_convert(lambda x: x * 2, jnp.array(1.0))
    return f(jnp.ones(3))


@program("filter_closure_convert")
def closure_convert_wrong_structure(eqx):
    f = eqx.filter_closure_convert(lambda x: x * 2, jnp.array(1.0))
    return f(jnp.ones(()), jnp.ones(()))


@program("filter_closure_convert")
def closure_convert_static(eqx):
    f = eqx.filter_closure_convert(lambda x, s, *, k: (x, s, k), jnp.array(1.0), "s", k=2)
    return f(jnp.array(2.0), "s", k=2)


@program("filter_closure_convert")
def closure_convert_other_static(eqx):
    f = eqx.filter_closure_convert(lambda x, s: (x, s), jnp.array(1.0), "s")
    return f(jnp.array(2.0), "t")


@program("filter_closure_convert")
def closure_convert_struct(eqx):
    f = eqx.filter_closure_convert(lambda x: x * 2, jax.ShapeDtypeStruct((2,), jnp.float32))
    return f(jnp.ones(2))


@program("filter_closure_convert")
def closure_convert_shape_attributes(eqx):
    f = eqx.filter_closure_convert(lambda x: (x * 2, "s"), jnp.ones(2))
    return f.in_struct is not None, f.out_struct


@program("internal.closure_to_pytree")
def closure_to_pytree(eqx):
    w = jnp.arange(2.0)

    def f(x):
        return w * x

    g = eqx.internal.closure_to_pytree(f)
    return g(2.0), [x for x in jax.tree.leaves(g) if eqx.is_array(x)]


@program("internal.closure_to_pytree")
def closure_to_pytree_mapped(eqx):
    w = jnp.arange(2.0)
    g = eqx.internal.closure_to_pytree(lambda x: w * x)
    g = jax.tree.map(lambda x: x + 1 if eqx.is_array(x) else x, g)
    return g(2.0)


@program("filter_custom_vjp")
def custom_vjp_of_a_python_number(eqx):
    @eqx.filter_custom_vjp
    def f(x):
        return x * 2

    f.def_fwd(lambda perturbed, x: (x * 2, None))
    f.def_bwd(lambda residuals, g, perturbed, x: g * 4)
    return jax.grad(f)(1.0)
