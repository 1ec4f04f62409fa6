"""Several things at once, as models and libraries use them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from registry import program


def mlp(eqx, key=0, **options):
    return eqx.nn.MLP(2, 1, 4, 1, activation=jnp.tanh, key=jr.PRNGKey(key), **options)


@program("filter_jit", "filter_value_and_grad", "apply_updates")
def training_by_hand(eqx):
    @eqx.filter_jit
    def step(model, x, y):
        loss, grads = eqx.filter_value_and_grad(lambda m: jnp.mean((jax.vmap(m)(x) - y) ** 2))(
            model
        )
        return eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, grads)), loss

    x = jnp.linspace(-1, 1, 8).reshape(4, 2)
    model, losses = mlp(eqx), []
    for _ in range(5):
        model, loss = step(model, x, x.sum(1, keepdims=True))
        losses.append(loss)
    return losses


@program("filter_grad", "partition", "combine")
def frozen_first_layer(eqx):
    model = mlp(eqx)
    spec = jax.tree.map(lambda _: False, model)
    spec = eqx.tree_at(lambda m: (m.layers[-1].weight, m.layers[-1].bias), spec, (True, True))
    diff, static = eqx.partition(model, spec)

    @eqx.filter_grad
    def loss(diff, static, x):
        return eqx.combine(diff, static)(x).sum()

    grads = loss(diff, static, jnp.ones(2))
    return [None if g is None else g.shape for g in jax.tree.leaves(grads)], grads.layers[0].weight


@program("filter_vmap", "filter_value_and_grad")
def ensemble_of_gradients(eqx):
    make = eqx.filter_vmap(lambda key: eqx.nn.Linear(2, 1, key=key))
    models = make(jr.split(jr.PRNGKey(0), 3))

    @eqx.filter_vmap(in_axes=(eqx.if_array(0), None))
    @eqx.filter_value_and_grad
    def loss(model, x):
        return model(x).sum()

    return loss(models, jnp.ones(2))


@program("partition", "combine")
def scan_over_layers(eqx):
    layers = eqx.filter_vmap(lambda key: eqx.nn.Linear(3, 3, key=key))(jr.split(jr.PRNGKey(0), 4))
    dynamic, static = eqx.partition(layers, eqx.is_array)

    def body(x, layer):
        return jnp.tanh(eqx.combine(layer, static)(x)), None

    return jax.lax.scan(body, jnp.ones(3), dynamic)[0]


@program("filter_eval_shape", "tree_deserialise_leaves", "tree_serialise_leaves")
def hyper_parameters_in_a_header(eqx):
    import io
    import json

    file = io.BytesIO()
    hyper = {"in_size": 2, "out_size": 1, "width_size": 4, "depth": 1}
    file.write((json.dumps(hyper) + "\n").encode())
    eqx.tree_serialise_leaves(file, eqx.nn.MLP(**hyper, key=jr.PRNGKey(0)))
    file.seek(0)
    read = json.loads(file.readline().decode())
    like = eqx.filter_eval_shape(lambda: eqx.nn.MLP(**read, key=jr.PRNGKey(1)))
    return eqx.tree_deserialise_leaves(file, like).layers


@program("tree_at", "nn.Linear")
def reinitialised_weights(eqx):
    def is_linear(x):
        return isinstance(x, eqx.nn.Linear)

    def weights(model):
        return [x.weight for x in jax.tree.leaves(model, is_leaf=is_linear) if is_linear(x)]

    model = mlp(eqx)
    keys = jr.split(jr.PRNGKey(1), len(weights(model)))
    new = [jr.normal(k, w.shape) for k, w in zip(keys, weights(model), strict=True)]
    return weights(eqx.tree_at(weights, model, new))


@program("nn.make_with_state", "nn.BatchNorm", "nn.inference_mode", "filter_jit")
def batch_norm_training(eqx):
    class Model(eqx.Module):
        norm: Any
        linear: Any

        def __init__(self, key):
            self.norm = eqx.nn.BatchNorm(2, "batch", mode="batch")
            self.linear = eqx.nn.Linear(2, 1, key=key)

        def __call__(self, x, state):
            x, state = self.norm(x, state)
            return self.linear(x), state

    model, state = eqx.nn.make_with_state(Model)(jr.PRNGKey(0))

    def loss(model, state, x):
        call = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        y, state = call(x, state)
        return jnp.mean(y**2), state

    step = eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))
    (value, state), grads = step(model, state, jnp.arange(6.0).reshape(3, 2))
    frozen = eqx.nn.inference_mode(model)
    return value, grads.linear.weight, frozen(jnp.ones(2), state)[0]


@program("nn.State", "filter_jit")
def state_as_a_counter_in_scan(eqx):
    class Counter(eqx.Module):
        index: Any

        def __init__(self):
            self.index = eqx.nn.StateIndex(jnp.array(0))

        def __call__(self, x, state):
            n = state.get(self.index)
            return x * n, state.set(self.index, n + 1)

    model, state = eqx.nn.make_with_state(Counter)()
    assert isinstance(state, eqx.nn.State)

    @eqx.filter_jit
    def run(state, xs):
        return jax.lax.scan(lambda s, x: model(x, s)[::-1], state, xs)

    state, ys = run(state, jnp.ones(4))
    return ys, state.get(model.index)


@program("filter_custom_vjp")
def clipped_gradient(eqx):
    @eqx.filter_custom_vjp
    def clip(tree, limit):
        return tree

    @clip.def_fwd
    def fwd(perturbed, tree, limit):
        return tree, None

    @clip.def_bwd
    def bwd(residuals, grads, perturbed, tree, limit):
        return jax.tree.map(lambda g: jnp.clip(g, -limit, limit), grads)

    return eqx.filter_grad(lambda t: jnp.sum(100 * clip(t, 1.0)["x"]))({"x": jnp.ones(2)})


@program("filter_closure_convert", "filter_vmap")
def converted_closure_mapped(eqx):
    w = jnp.arange(3.0)
    f = eqx.filter_closure_convert(lambda x: x * w, jnp.ones(3))
    return jax.vmap(f)(jnp.ones((2, 3))), eqx.filter_vmap(f)(jnp.ones((2, 3)))


@program("filter_checkpoint", "filter_grad")
def checkpointed_model(eqx):
    model = mlp(eqx)

    @eqx.filter_grad
    def loss(model):
        return eqx.filter_checkpoint(lambda m, x: m(x))(model, jnp.ones(2)).sum()

    return loss(model).layers[0].bias


@program("error_if", "filter_jit", "filter_vmap")
def check_in_a_model(eqx):
    class Safe(eqx.Module):
        linear: Any

        def __call__(self, x):
            x = eqx.error_if(x, jnp.any(x < 0), "negative input")
            return self.linear(x)

    model = Safe(eqx.nn.Linear(2, 1, key=jr.PRNGKey(0)))
    good = eqx.filter_jit(eqx.filter_vmap(model))(jnp.ones((3, 2)))
    try:
        eqx.filter_jit(eqx.filter_vmap(model))(-jnp.ones((3, 2)))
    except eqx.EquinoxRuntimeError as error:
        return good, "negative input" in str(error)


@program("internal.while_loop")
def solver_loop(eqx):
    def newton(a):
        def cond(carry):
            x, _ = carry
            return jnp.abs(x * x - a) > 1e-6

        def body(carry):
            x, n = carry
            return 0.5 * (x + a / x), n + 1

        return eqx.internal.while_loop(
            cond, body, (a, jnp.array(0)), kind="checkpointed", max_steps=20
        )

    a = jnp.array(2.0, jnp.float32)
    value, steps = newton(a)
    return jnp.round(value, 4), steps, jnp.round(jax.grad(lambda a: newton(a)[0])(a), 3)


@program("internal.closure_to_pytree")
def captured_model(eqx):
    model = eqx.nn.Linear(2, 1, key=jr.PRNGKey(0))

    def f(x):
        return model(x)

    g = eqx.internal.closure_to_pytree(f)
    return g(jnp.ones(2)), len([x for x in jax.tree.leaves(g) if eqx.is_array(x)])


@program("Enumeration", "internal.while_loop")
def result_codes_in_a_loop(eqx):
    class Results(eqx.Enumeration):
        successful = ""
        too_many = "too many steps"

    def body(carry):
        n, result = carry
        return n + 1, Results.where(n > 2, Results.too_many, result)

    _, result = eqx.internal.while_loop(
        lambda c: (c[0] < 5) & (c[1] == Results.successful),
        body,
        (jnp.array(0), Results.successful),
        kind="lax",
    )
    return Results[result], result == Results.too_many


@program("filter_jit", "Partial")
def optimiser_like_state(eqx):
    params = eqx.filter(mlp(eqx), eqx.is_inexact_array)
    moments = jax.tree.map(jnp.zeros_like, params)

    @eqx.filter_jit
    def update(moments, grads, decay):
        return jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, moments, grads)

    new = eqx.Partial(update, moments)(params, 0.9)
    return new.layers[0].bias, jax.tree.structure(new) == jax.tree.structure(params)


@program("is_array", "partition")
def target_network(eqx):
    online, target = mlp(eqx, 0), mlp(eqx, 1)
    mixed = jax.tree.map(lambda t, o: 0.9 * t + 0.1 * o if eqx.is_array(t) else t, target, online)
    dynamic, _ = eqx.partition(mixed, eqx.is_array)
    return mixed.layers[0].bias, len(jax.tree.leaves(dynamic)), mixed.activation is jnp.tanh


@program("filter_hessian", "filter_jvp", "filter_grad")
def hessian_vector_product(eqx):
    def f(x):
        return jnp.sum(jnp.sin(x) * x**2)

    x, v = jnp.arange(3.0), jnp.ones(3)
    return eqx.filter_jvp(eqx.filter_grad(f), (x,), (v,))[1], eqx.filter_hessian(f)(x) @ v


@program("nn.Sequential", "nn.Lambda", "nn.Dropout", "filter_jit")
def convolutional_network(eqx):
    keys = jr.split(jr.PRNGKey(0), 2)
    model = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 2, 3, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Dropout(0.5),
            eqx.nn.Linear(8, 3, key=keys[1]),
        ]
    )
    images = jnp.linspace(-1, 1, 72).reshape(2, 1, 6, 6)
    train = eqx.filter_jit(lambda m, x, k: jax.vmap(lambda x, k: m(x, key=k))(x, k))
    return (
        train(model, images, jr.split(jr.PRNGKey(1), 2)),
        jax.vmap(eqx.nn.inference_mode(model))(images),
    )


@program("nn.MultiheadAttention", "nn.LayerNorm", "nn.Embedding")
def transformer_block(eqx):
    keys = jr.split(jr.PRNGKey(0), 3)
    embed = eqx.nn.Embedding(5, 4, key=keys[0])
    attention = eqx.nn.MultiheadAttention(2, 4, key=keys[1])
    norm = eqx.nn.LayerNorm(4)
    x = jax.vmap(embed)(jnp.array([0, 3, 1]))
    mask = jnp.tril(jnp.ones((3, 3), bool))
    return jax.vmap(norm)(x + attention(x, x, x, mask))


@program("filter_pure_callback", "filter_jit")
def callback_in_a_jitted_model(eqx):
    @eqx.filter_jit
    def f(x):
        y = eqx.filter_pure_callback(
            lambda x: np.asarray(x) ** 2, x, result_shape_dtypes=jax.ShapeDtypeStruct((3,), "f4")
        )
        return jnp.sum(y)

    return f(jnp.arange(3.0))


@program("filter_jit", "filter_custom_jvp")
def implicit_function(eqx):
    @eqx.filter_custom_jvp
    def root(f, x0, args):
        return jax.lax.fori_loop(0, 20, lambda _, x: x - f(x, args) / jax.grad(f)(x, args), x0)

    @root.def_jvp
    def rule(primals, tangents):
        f, x0, args = primals
        _, _, t_args = tangents
        x = root(f, x0, args)
        dx = jax.grad(f)(x, args)
        _, t = eqx.filter_jvp(functools.partial(f, x), (args,), (t_args,))
        return x, -t / dx

    def value(a):
        return root(lambda x, a: x**2 - a, jnp.array(1.0), a)

    return jnp.round(eqx.filter_jit(value)(jnp.array(4.0)), 4), jax.grad(value)(4.0)
