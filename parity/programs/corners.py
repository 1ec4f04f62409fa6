"""Corners: where two features meet."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from registry import program

KEY = jr.PRNGKey(0)


def linear(eqx):
    return eqx.nn.Linear(2, 2, key=KEY)


def loop(eqx, kind, cond, body, init, **options):
    return eqx.internal.while_loop(cond, body, init, kind=kind, max_steps=8, **options)


@program("internal.while_loop")
def module_in_the_carry(eqx):
    class Carry(eqx.Module):
        x: Any
        n: Any

    def run(x):
        return loop(
            eqx, "checkpointed", lambda c: c.n < 3, lambda c: Carry(c.x * 2, c.n + 1), Carry(x, 0)
        )

    x = jnp.ones(2)
    return run(x), jax.grad(lambda x: run(x).x.sum())(x)


@program("internal.while_loop")
def nested_loops(eqx):
    def run(x):
        def outer(c):
            n, x = c
            inner = loop(
                eqx, "bounded", lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 1.5), (0, x)
            )
            return n + 1, inner[1]

        return loop(eqx, "checkpointed", lambda c: c[0] < 3, outer, (0, x))[1]

    x = jnp.array(1.0, jnp.float32)
    return run(x), jax.grad(run)(x)


@program("internal.while_loop")
def several_buffers(eqx):
    def run(x):
        def body(c):
            i, (a, b) = c
            return i + 1, (a.at[i].set(x * i), b.at[i, 0].set(x))

        init = (0, (jnp.zeros(3), jnp.zeros((3, 2))))
        return loop(eqx, "checkpointed", lambda c: c[0] < 2, body, init, buffers=lambda c: c[1])[1]

    x = jnp.array(2.0, jnp.float32)
    return run(x), jax.grad(lambda x: run(x)[0].sum() + run(x)[1].sum())(x)


@program("internal.while_loop")
def buffers_that_are_not_in_the_carry(eqx):
    return loop(eqx, "lax", lambda c: c < 2, lambda c: c + 1, 0, buffers=lambda c: jnp.ones(2))


@program("internal.while_loop", "error_if")
def check_in_a_checkpointed_loop(eqx):
    def body(c):
        return eqx.error_if(c + 1.0, c > 2, "too large")

    run = eqx.filter_jit(lambda x: loop(eqx, "checkpointed", lambda c: c < 5, body, x))
    return run(jnp.array(0.0))


@program("internal.while_loop")
def vmapped_buffers_of_unequal_length(eqx):
    def run(n):
        def body(c):
            i, xs = c
            return i + 1, xs.at[i].set(i + 1.0)

        init = (jnp.array(0), jnp.zeros(4))
        return loop(eqx, "checkpointed", lambda c: c[0] < n, body, init, buffers=lambda c: c[1])

    return jax.vmap(run)(jnp.array([1, 3]))


@program("internal.while_loop")
def unmapped_carry_under_vmap(eqx):
    def run(x):
        return loop(eqx, "bounded", lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] + x), (0, 0.0))

    return jax.vmap(run)(jnp.arange(2.0))


@program("internal.scan")
def scan_of_a_model(eqx):
    model = linear(eqx)
    xs = jnp.linspace(-1, 1, 6).reshape(3, 2)

    def run(w):
        def step(c, x):
            return jnp.tanh(w @ c + x), c

        return eqx.internal.scan(step, jnp.zeros(2), xs, kind="checkpointed", checkpoints=2)[
            0
        ].sum()

    return run(model.weight), jax.grad(run)(model.weight)


@program("nn.State", "tree_pformat")
def printed_state(eqx):
    _, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, "b", mode="batch")
    assert isinstance(state, eqx.nn.State)
    return "f32[2]" in eqx.tree_pformat(state), "State" in repr(state)


@program("nn.make_with_state", "filter_vmap")
def ensemble_with_state(eqx):
    def make(key):
        return eqx.nn.Sequential(
            [eqx.nn.Linear(2, 2, key=key), eqx.nn.BatchNorm(2, "b", mode="ema")]
        )

    models, states = eqx.filter_vmap(eqx.nn.make_with_state(make))(jr.split(KEY, 3))

    @eqx.filter_vmap
    def evaluate(model, state):
        call = jax.vmap(model, axis_name="b", in_axes=(0, None), out_axes=(0, None))
        return call(jnp.arange(8.0).reshape(4, 2), state)[0]

    return evaluate(models, states)


@program("tree_at", "nn.make_with_state")
def surgery_on_a_stateful_model(eqx):
    model, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, "b", mode="ema")
    model = eqx.tree_at(lambda m: m.weight, model, 3 * jnp.ones(2))
    call = jax.vmap(model, axis_name="b", in_axes=(0, None), out_axes=(0, None))
    return call(jnp.arange(4.0).reshape(2, 2), state)[0]


@program("nn.Linear")
def layer_with_more_fields(eqx):
    class Scaled(eqx.nn.Linear):
        scale: float

        def __init__(self, *args, scale, **kwargs):
            super().__init__(*args, **kwargs)
            self.scale = scale

        def __call__(self, x, *, key=None):
            return self.scale * super().__call__(x)

    layer = Scaled(2, 2, scale=2.0, key=KEY)
    return layer(jnp.ones(2)), repr(layer), isinstance(layer, eqx.nn.Linear)


@program("filter_custom_jvp")
def keyword_tangents(eqx):
    @eqx.filter_custom_jvp
    def f(x, *, k):
        return x * k

    f.def_jvp(lambda primals, tangents, *, k: (f(*primals, k=k), tangents[0] * k))
    return jax.grad(lambda k: f(jnp.array(2.0), k=k))(jnp.array(3.0))


@program("filter_custom_jvp")
def rule_in_a_scan(eqx):
    @eqx.filter_custom_jvp
    def f(x, s):
        return x * 2, s

    f.def_jvp(lambda primals, tangents: (f(*primals), (tangents[0] * 5, None)))
    x = jnp.array(1.0, jnp.float32)
    return jax.grad(lambda x: jax.lax.scan(lambda c, _: (f(c, "s")[0], None), x, None, 2)[0])(x)


@program("filter_custom_vjp")
def vjp_under_checkpoint_and_scan(eqx):
    @eqx.filter_custom_vjp
    def f(x, s):
        return jnp.sin(x)

    f.def_fwd(lambda perturbed, x, s: (jnp.sin(x), x))
    f.def_bwd(lambda res, g, perturbed, x, s: g * 7 * jnp.cos(res))
    x = jnp.array(1.0, jnp.float32)

    @jax.checkpoint
    def step(c, _):
        return f(c, "s"), None

    return jax.grad(lambda x: jax.lax.scan(step, x, None, 2)[0])(x)


@program("filter_vmap", "filter_jvp")
def jvp_under_vmap(eqx):
    return eqx.filter_vmap(lambda x, t: eqx.filter_jvp(jnp.sin, (x,), (t,)))(
        jnp.arange(3.0), jnp.ones(3)
    )


@program("filter_jit", "filter_eval_shape")
def jitted_function_under_eval_shape(eqx):
    return eqx.filter_eval_shape(eqx.filter_jit(lambda m, x: (m(x), "s")), linear(eqx), jnp.ones(2))


@program("filter_jit", "filter_make_jaxpr")
def jitted_function_in_a_jaxpr(eqx):
    closed, _, static = eqx.filter_make_jaxpr(eqx.filter_jit(lambda x: x * 2))(jnp.ones(2))
    return len(closed.jaxpr.eqns), static


@program("filter_grad", "filter_vmap", "filter_jit")
def per_example_gradients(eqx):
    model = linear(eqx)

    @eqx.filter_jit
    @eqx.filter_vmap(in_axes=(None, 0))
    @eqx.filter_grad
    def loss(model, x):
        return jnp.sum(model(x) ** 2)

    return loss(model, jnp.arange(6.0).reshape(3, 2))


@program("filter_jit")
def two_instances_one_program(eqx):
    traces = []

    class A(eqx.Module):
        w: Any
        n: int

        @eqx.filter_jit
        def f(self, x):
            traces.append(self.n)
            return self.w * x

    for n in (1, 1, 2):
        A(jnp.ones(2), n).f(1.0)
    return traces


@program("filter_jit")
def default_arguments_are_not_traced(eqx):
    default = np.ones(2)
    f = eqx.filter_jit(lambda x, y=default: (x, isinstance(y, np.ndarray)))
    return f(jnp.ones(1))


@program("filter", "filter_grad")
def gradients_of_a_dictionary_of_modules(eqx):
    models = {"a": linear(eqx), "b": (linear(eqx), None)}
    grads = eqx.filter_grad(lambda m: m["a"](m["b"][0](jnp.ones(2))).sum())(models)
    return grads, eqx.filter(grads, eqx.is_array)


@program("tree_equal", "filter_jit")
def equality_inside_jit(eqx):
    return eqx.filter_jit(lambda a, b: eqx.tree_equal(a, b))(linear(eqx), linear(eqx))


@program("error_if", "filter_jit")
def check_with_integer_and_bool_leaves(eqx):
    tree = {"i": jnp.arange(2), "b": jnp.array(True), "f": jnp.ones(2), "s": "s"}
    return eqx.filter_jit(lambda t: eqx.error_if(t, t["i"][0] > 0, "message"))(tree)


@program("Enumeration", "filter_jit", "filter_vmap")
def codes_through_transformations(eqx):
    class Codes(eqx.Enumeration):
        good = "good"
        bad = "bad"

    f = eqx.filter_jit(eqx.filter_vmap(lambda x: Codes.where(x > 0, Codes.bad, Codes.good)))
    many = f(jnp.array([-1.0, 1.0]))
    return jax.tree.leaves(many), repr(many), many == Codes.good


@program("partition", "is_inexact_array_like")
def python_floats_as_parameters(eqx):
    tree = [1.0, 2, jnp.ones(1), np.float32(3), "s", True]
    return eqx.partition(tree, eqx.is_inexact_array_like)


@program("filter_closure_convert", "filter_jit")
def converted_closure_through_jit(eqx):
    w = jnp.arange(2.0)
    f = eqx.filter_closure_convert(lambda x: x * w, jnp.ones(2))
    return eqx.filter_jit(lambda f, x: f(x))(f, jnp.ones(2)), eqx.filter_grad(
        lambda f: f(jnp.ones(2)).sum()
    )(f) is not None


@program("filter_pmap", "filter_grad")
def gradients_over_devices(eqx):
    model = linear(eqx)

    @eqx.filter_pmap(in_axes=(None, 0), axis_name="d")
    def step(model, x):
        grads = eqx.filter_grad(lambda m: m(x).sum())(model)
        return jax.lax.pmean(grads.weight, "d")

    return step(model, jnp.arange(4.0).reshape(2, 2))
