"""Layers, how they are made, called and printed; and state. (Numbers: `layer_numbers.py`.)"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
from registry import add, program, short

KEY = jax.random.PRNGKey(3)

# name: arguments, keywords, input, an input that is wrong, arguments that are wrong.
LAYERS = {
    "Linear": ((2, 3), {"key": KEY}, (2,), (3,), (2,)),
    "MLP": ((2, 3, 4, 1), {"key": KEY}, (2,), (3,), (2, 3)),
    "Identity": ((), {}, (2,), None, None),
    "Conv": ((2, 1, 2, 3), {"key": KEY}, (1, 4, 4), (2, 4, 4), (2, 1)),
    "Conv1d": ((1, 2, 3), {"key": KEY}, (1, 4), (4,), (1, 2)),
    "Conv2d": ((1, 2, 3), {"key": KEY}, (1, 4, 4), (1, 4), (1, 2, (3, 3, 3))),
    "Conv3d": ((1, 2, 2), {"key": KEY}, (1, 3, 3, 3), (3, 3, 3), (1,)),
    "ConvTranspose": ((1, 1, 2, 3), {"key": KEY}, (1, 4), (2, 4), (1,)),
    "ConvTranspose1d": ((1, 2, 3), {"key": KEY}, (1, 4), (4,), (1, 2)),
    "ConvTranspose2d": ((1, 2, 3), {"key": KEY}, (1, 4, 4), (4, 4), (1, 2)),
    "ConvTranspose3d": ((1, 2, 2), {"key": KEY}, (1, 3, 3, 3), (3, 3), (1, 2)),
    "Pool": ((0.0, jax.lax.add, 1, 2), {}, (1, 4), (4,), (0.0, jax.lax.add)),
    "AvgPool1d": ((2,), {}, (1, 4), (4,), ()),
    "AvgPool2d": ((2,), {"stride": 2}, (1, 4, 4), (4, 4), ((1, 2, 3),)),
    "AvgPool3d": ((2,), {}, (1, 3, 3, 3), (3, 3), ()),
    "MaxPool1d": ((2,), {"padding": 1}, (1, 4), (4,), ()),
    "MaxPool2d": ((2,), {}, (1, 4, 4), (4, 4), ((1, 2, 3),)),
    "MaxPool3d": ((2,), {}, (1, 3, 3, 3), (3, 3), ()),
    "AdaptivePool": ((2, 1, jnp.max), {}, (1, 5), (5,), (2,)),
    "AdaptiveAvgPool1d": ((2,), {}, (1, 5), (5,), ()),
    "AdaptiveAvgPool2d": ((2,), {}, (1, 5, 4), (5, 4), ((1, 2, 3),)),
    "AdaptiveAvgPool3d": ((2,), {}, (1, 3, 4, 2), (5, 4), ()),
    "AdaptiveMaxPool1d": ((2,), {}, (1, 5), (5,), ()),
    "AdaptiveMaxPool2d": (((2, 1),), {}, (1, 5, 4), (5, 4), ((1, 2, 3),)),
    "AdaptiveMaxPool3d": ((2,), {}, (1, 3, 4, 2), (5, 4), ()),
    "LayerNorm": ((3,), {}, (3,), (4,), ()),
    "RMSNorm": ((3,), {}, (3,), (4,), ()),
    "GroupNorm": ((2, 4), {}, (4, 3), (6, 3), (2, 3)),
    "Dropout": ((0.0,), {}, (3,), None, None),
    "PReLU": ((0.5,), {}, (3,), None, None),
    "RotaryPositionalEmbedding": ((4,), {}, (3, 4), (3, 6), (3,)),
    "Lambda": ((jnp.tanh,), {}, (3,), None, ()),
}


def make(eqx, name):
    args, keywords, *_ = LAYERS[name]
    return getattr(eqx.nn, name)(*args, **keywords)


def data(shape):
    return jnp.linspace(-1, 1, int(jnp.prod(jnp.array(shape)))).reshape(shape)


def parameters(function):
    return [(p.name, p.kind.name) for p in inspect.signature(function).parameters.values()]


def register(name):
    _, keywords, shape, wrong, bad = LAYERS[name]

    def note(what, function):
        add(f"layers.nn.{name}.{what}", (f"nn.{name}",), function)

    note("made", lambda eqx: make(eqx, name))
    note("called", lambda eqx: make(eqx, name)(data(shape)))
    note("called_with_key", lambda eqx: make(eqx, name)(data(shape), key=KEY))
    note("printed", lambda eqx: repr(make(eqx, name)))
    note("parameters", lambda eqx: parameters(make(eqx, name)))
    note("leaves", lambda eqx: len(jax.tree.leaves(make(eqx, name))))
    if wrong is not None:
        note("wrong_input", lambda eqx: make(eqx, name)(data(wrong)))
    if bad is not None:
        note("wrong_arguments", lambda eqx: getattr(eqx.nn, name)(*bad, **keywords))


for layer in LAYERS:
    register(layer)


short(
    "nn.Linear",
    no_key=lambda eqx: eqx.nn.Linear(2, 3),
    typed_key=lambda eqx: eqx.nn.Linear(2, 3, key=jax.random.key(0)),
    not_a_key=lambda eqx: eqx.nn.Linear(2, 3, key=0),
    batch=lambda eqx: make(eqx, "Linear")(jnp.ones((4, 2))),
    float_sizes=lambda eqx: eqx.nn.Linear(2.0, 3, key=KEY),
    negative=lambda eqx: eqx.nn.Linear(-1, 3, key=KEY),
    list_input=lambda eqx: make(eqx, "Linear")([1.0, 2.0]),
    numpy_input=lambda eqx: make(eqx, "Linear")(np.ones(2, "f4")),
    integer_input=lambda eqx: make(eqx, "Linear")(jnp.arange(2)),
    half_input=lambda eqx: make(eqx, "Linear")(jnp.ones(2, jnp.float16)),
    fields=lambda eqx: list(make(eqx, "Linear").__dataclass_fields__),
    vmapped=lambda eqx: jax.vmap(make(eqx, "Linear"))(jnp.ones((4, 2))),
    subclass=lambda eqx: sub(eqx)(2, 3, key=KEY)(jnp.ones(2)),
)


def sub(eqx):
    class Sub(eqx.nn.Linear):
        def __call__(self, x):
            return 2 * super().__call__(x)

    return Sub


short(
    "nn.MLP",
    depth_0=lambda eqx: eqx.nn.MLP(2, 3, 4, 0, key=KEY)(jnp.ones(2)),
    scalar=lambda eqx: eqx.nn.MLP("scalar", "scalar", 4, 2, key=KEY)(jnp.array(1.0)),
    activations=lambda eqx: eqx.nn.MLP(
        2, 2, 3, 2, activation=jnp.tanh, final_activation=jax.nn.softplus, key=KEY
    )(jnp.ones(2)),
    module_activation=lambda eqx: eqx.nn.MLP(2, 2, 3, 2, activation=eqx.nn.PReLU(), key=KEY),
    no_bias=lambda eqx: eqx.nn.MLP(2, 2, 3, 1, use_bias=False, use_final_bias=False, key=KEY),
    scan=lambda eqx: eqx.nn.MLP(2, 2, 3, 4, scan=True, key=KEY)(jnp.ones(2)),
    grad=lambda eqx: eqx.filter_grad(lambda m: m(jnp.ones(2)).sum())(make(eqx, "MLP")),
    negative_depth=lambda eqx: eqx.nn.MLP(2, 2, 3, -1, key=KEY),
    equal=lambda eqx: bool(eqx.tree_equal(make(eqx, "MLP"), make(eqx, "MLP"))),
    jit=lambda eqx: eqx.filter_jit(make(eqx, "MLP"))(jnp.ones(2)),
)
short(
    "nn.Dropout",
    no_key=lambda eqx: eqx.nn.Dropout(0.5)(jnp.ones(3)),
    with_key=lambda eqx: eqx.nn.Dropout(0.5)(jnp.ones(8), key=KEY),
    inference=lambda eqx: eqx.nn.Dropout(0.5, inference=True)(jnp.ones(3)),
    inference_argument=lambda eqx: eqx.nn.Dropout(0.5)(jnp.ones(3), inference=True),
    zero=lambda eqx: eqx.nn.Dropout(0.0)(jnp.ones(3), key=KEY),
    array_p=lambda eqx: eqx.nn.Dropout(jnp.array(0.5))(jnp.ones(8), key=KEY),
    deterministic=lambda eqx: eqx.nn.Dropout(0.5, deterministic=True),
    deterministic_call=lambda eqx: eqx.nn.Dropout(0.5)(jnp.ones(3), deterministic=True),
    deterministic_read=lambda eqx: eqx.nn.Dropout(0.5, True).deterministic,
    deterministic_over_inference=lambda eqx: eqx.nn.Dropout(0.5, True, deterministic=False),
    deterministic_replaced=lambda eqx: eqx.tree_at(
        lambda d: d.deterministic, eqx.nn.Dropout(0.5), True
    ),
    scaled=lambda eqx: jnp.unique(eqx.nn.Dropout(0.2)(jnp.ones(64), key=KEY)),
)
short(
    "nn.Sequential",
    runs=lambda eqx: eqx.nn.Sequential([make(eqx, "Linear"), eqx.nn.Lambda(jnp.tanh)])(jnp.ones(2)),
    empty=lambda eqx: eqx.nn.Sequential([])(jnp.ones(2)),
    indexed=lambda eqx: eqx.nn.Sequential([make(eqx, "Linear"), eqx.nn.Identity()])[0],
    sliced=lambda eqx: eqx.nn.Sequential([make(eqx, "Linear"), eqx.nn.Identity()])[1:],
    length=lambda eqx: len(eqx.nn.Sequential([make(eqx, "Linear"), eqx.nn.Identity()])),
    iterated=lambda eqx: [
        type(m).__name__ for m in eqx.nn.Sequential([make(eqx, "Linear"), eqx.nn.Identity()])
    ],
    keys=lambda eqx: eqx.nn.Sequential([eqx.nn.Dropout(), eqx.nn.Dropout()])(jnp.ones(8), key=KEY),
    needs_a_key=lambda eqx: eqx.nn.Sequential([eqx.nn.Dropout()])(jnp.ones(8)),
    stateful=lambda eqx: eqx.nn.Sequential([make(eqx, "Linear")]).is_stateful(),
    nested=lambda eqx: eqx.nn.Sequential([eqx.nn.Sequential([make(eqx, "Linear")])])(jnp.ones(2)),
    tuple=lambda eqx: type(eqx.nn.Sequential((make(eqx, "Linear"),)).layers).__name__,
    printed=lambda eqx: repr(eqx.nn.Sequential([make(eqx, "Linear"), eqx.nn.Dropout()])),
    paths=lambda eqx: [
        jax.tree_util.keystr(p)
        for p, _ in jax.tree_util.tree_flatten_with_path(
            eqx.filter(eqx.nn.Sequential([make(eqx, "Linear")]), eqx.is_array)
        )[0]
    ],
    state_without_need=lambda eqx: eqx.nn.Sequential([make(eqx, "Linear")])(
        jnp.ones(2), eqx.nn.State(make(eqx, "Linear"))
    )[0],
    out_of_range=lambda eqx: eqx.nn.Sequential([])[0],
)
short(
    "nn.Lambda",
    key=lambda eqx: eqx.nn.Lambda(jnp.tanh)(jnp.ones(2), key=KEY),
    module=lambda eqx: eqx.nn.Lambda(make(eqx, "Linear"))(jnp.ones(2)),
)
short(
    "nn.Identity",
    arguments=lambda eqx: eqx.nn.Identity(1, 2, a=3)(jnp.ones(2)),
)
short(
    "nn.Embedding",
    made=lambda eqx: eqx.nn.Embedding(3, 2, key=KEY),
    called=lambda eqx: eqx.nn.Embedding(3, 2, key=KEY)(jnp.array(1)),
    python=lambda eqx: eqx.nn.Embedding(3, 2, key=KEY)(1),
    numpy=lambda eqx: eqx.nn.Embedding(3, 2, key=KEY)(np.int32(1)),
    weight=lambda eqx: eqx.nn.Embedding(weight=jnp.ones((2, 3))),
    nothing=lambda eqx: eqx.nn.Embedding(),
    batch=lambda eqx: eqx.nn.Embedding(3, 2, key=KEY)(jnp.arange(2)),
    printed=lambda eqx: repr(eqx.nn.Embedding(3, 2, key=KEY)),
    one_dimensional=lambda eqx: eqx.nn.Embedding(weight=jnp.ones(3)),
)
short(
    "nn.GRUCell",
    made=lambda eqx: eqx.nn.GRUCell(2, 3, key=KEY),
    called=lambda eqx: eqx.nn.GRUCell(2, 3, key=KEY)(jnp.ones(2), jnp.ones(3)),
    printed=lambda eqx: repr(eqx.nn.GRUCell(2, 3, use_bias=False, key=KEY)),
    scanned=lambda eqx: (
        lambda cell: jax.lax.scan(lambda h, x: (cell(x, h), h), jnp.zeros(3), jnp.ones((4, 2)))
    )(eqx.nn.GRUCell(2, 3, key=KEY)),
)
short(
    "nn.LSTMCell",
    made=lambda eqx: eqx.nn.LSTMCell(2, 3, key=KEY),
    called=lambda eqx: eqx.nn.LSTMCell(2, 3, key=KEY)(jnp.ones(2), (jnp.ones(3), jnp.zeros(3))),
    printed=lambda eqx: repr(eqx.nn.LSTMCell(2, 3, key=KEY)),
    wrong_state=lambda eqx: eqx.nn.LSTMCell(2, 3, key=KEY)(jnp.ones(2), jnp.ones(3)),
)
short(
    "nn.MultiheadAttention",
    made=lambda eqx: eqx.nn.MultiheadAttention(2, 4, key=KEY),
    called=lambda eqx: eqx.nn.MultiheadAttention(2, 4, key=KEY)(*[data((3, 4))] * 3),
    masked=lambda eqx: eqx.nn.MultiheadAttention(2, 4, key=KEY)(
        *[data((3, 4))] * 3, mask=jnp.tril(jnp.ones((3, 3), bool))
    ),
    dropout_without_key=lambda eqx: eqx.nn.MultiheadAttention(2, 4, dropout_p=0.5, key=KEY)(
        *[data((3, 4))] * 3
    ),
    heads_do_not_divide=lambda eqx: eqx.nn.MultiheadAttention(3, 4, key=KEY),
    process_heads=lambda eqx: eqx.nn.MultiheadAttention(2, 4, key=KEY)(
        *[data((3, 4))] * 3, process_heads=lambda q, k, v: (2 * q, k, v)
    ),
    process_heads_wrong=lambda eqx: eqx.nn.MultiheadAttention(2, 4, key=KEY)(
        *[data((3, 4))] * 3, process_heads=lambda q, k, v: (q[:1], k, v)
    ),
    printed=lambda eqx: repr(eqx.nn.MultiheadAttention(2, 4, key=KEY)),
    deterministic=lambda eqx: eqx.nn.MultiheadAttention(2, 4, key=KEY)(
        *[data((3, 4))] * 3, deterministic=True
    ),
)
short(
    "nn.RotaryPositionalEmbedding",
    rotate_half=lambda eqx: eqx.nn.RotaryPositionalEmbedding.rotate_half(data((2, 4))),
    tables=lambda eqx: eqx.nn.RotaryPositionalEmbedding.precompute_freqs_cis(
        4, 3, 1e4, jnp.float32
    ),
    in_jit_and_out=lambda eqx: (lambda layer: (jax.jit(layer)(data((3, 4))), layer(data((3, 4)))))(
        eqx.nn.RotaryPositionalEmbedding(4)
    ),
)
short(
    "nn.WeightNorm",
    called=lambda eqx: eqx.nn.WeightNorm(make(eqx, "Linear"))(jnp.ones(2)),
    paths=lambda eqx: [
        jax.tree_util.keystr(p)
        for p, _ in jax.tree_util.tree_flatten_with_path(
            eqx.filter(eqx.nn.WeightNorm(make(eqx, "Linear")), eqx.is_array)
        )[0]
    ],
    no_such_weight=lambda eqx: eqx.nn.WeightNorm(make(eqx, "Linear"), "nothing"),
    jit=lambda eqx: eqx.filter_jit(lambda m, x: m(x))(
        eqx.nn.WeightNorm(make(eqx, "Linear")), jnp.ones(2)
    ),
)
short(
    "nn.SpectralNorm",
    made=lambda eqx: jax.tree.map(
        jnp.shape,
        eqx.filter(
            eqx.nn.make_with_state(eqx.nn.SpectralNorm)(make(eqx, "Linear"), "weight", key=KEY)[0],
            eqx.is_array,
        ),
    ),
    called=lambda eqx: (lambda m, s: m(jnp.ones(2), s)[0])(
        *eqx.nn.make_with_state(eqx.nn.SpectralNorm)(make(eqx, "Linear"), "weight", key=KEY)
    ),
    vector=lambda eqx: eqx.nn.SpectralNorm(make(eqx, "Linear"), "bias", key=KEY),
    stateful=lambda eqx: eqx.nn.SpectralNorm(make(eqx, "Linear"), "weight", key=KEY).is_stateful(),
)


@program("nn.Shared")
def shared(eqx):
    class Tied(eqx.Module):
        shared: object

        def __init__(self):
            k1, k2 = jax.random.split(KEY)
            embedding, linear = eqx.nn.Embedding(3, 2, key=k1), eqx.nn.Linear(2, 3, key=k2)
            self.shared = eqx.nn.Shared(
                (embedding, linear), lambda p: p[1].weight, lambda p: p[0].weight
            )

        def __call__(self, i):
            embedding, linear = self.shared()
            return linear(embedding(i))

    grads = eqx.filter_grad(lambda m: m(jnp.array(1)).sum())(Tied())
    return Tied()(jnp.array(1)), [jnp.shape(x) for x in jax.tree.leaves(grads)]


@program("nn.Shared")
def shared_wrong_structure(eqx):
    linear = make(eqx, "Linear")
    return eqx.nn.Shared((linear, linear), lambda p: p[0], lambda p: p[1].weight)()


# State.


def counter(eqx):
    class Counter(eqx.Module):
        index: object

        def __init__(self, start=0):
            self.index = eqx.nn.StateIndex(jnp.array(start))

        def __call__(self, x, state):
            value = state.get(self.index)
            return x + value, state.set(self.index, value + 1)

    return Counter


def both(eqx, *args):
    return eqx.nn.make_with_state(counter(eqx))(*args)


def used_twice(eqx):
    model, state = both(eqx)
    model(1, state)
    return model(1, state)


def vmapped(eqx):
    model, state = both(eqx)
    return jax.vmap(model, in_axes=(0, None), out_axes=(0, None))(jnp.arange(3), state)[0]


def scanned(eqx):
    model, state = both(eqx)
    return jax.lax.scan(lambda s, x: model(x, s)[::-1], state, jnp.arange(3))[1]


def substates(eqx):
    class Two(eqx.Module):
        a: object
        b: object

        def __init__(self):
            self.a, self.b = counter(eqx)(1), counter(eqx)(10)

    model, state = eqx.nn.make_with_state(Two)()
    sub = state.substate(model.b)
    y, sub = model.b(0, sub)
    state = state.update(sub)
    return y, state.get(model.a.index), state.get(model.b.index)


short(
    "nn.make_with_state",
    get=lambda eqx: (lambda m, s: s.get(m.index))(*both(eqx, 5)),
    set=lambda eqx: (lambda m, s: s.set(m.index, jnp.array(7)).get(m.index))(*both(eqx)),
    set_shape=lambda eqx: (lambda m, s: s.set(m.index, jnp.ones(2)))(*both(eqx)),
    set_dtype=lambda eqx: (lambda m, s: s.set(m.index, jnp.array(1.0)))(*both(eqx)),
    set_structure=lambda eqx: (lambda m, s: s.set(m.index, [jnp.array(1)]))(*both(eqx)),
    set_python=lambda eqx: (lambda m, s: s.set(m.index, 1).get(m.index))(*both(eqx)),
    used_twice=used_twice,
    old_state=lambda eqx: (lambda m, s: (s.set(m.index, jnp.array(1)), s.get(m.index)))(*both(eqx)),
    old_state_leaves=lambda eqx: (lambda m, s: (s.set(m.index, jnp.array(1)), jax.tree.leaves(s)))(
        *both(eqx)
    ),
    unknown=lambda eqx: (lambda m, s: s.get(both(eqx)[0].index))(*both(eqx)),
    leaves=lambda eqx: jax.tree.leaves(both(eqx, 3)[1]),
    jit=lambda eqx: (lambda m, s: eqx.filter_jit(m)(1, s)[0])(*both(eqx, 3)),
    vmapped=vmapped,
    scanned=scanned,
    substates=substates,
    update_wrong=lambda eqx: (lambda m, s: s.update(3))(*both(eqx)),
    item=lambda eqx: (lambda m, s: s[m.index])(*both(eqx)),
    printed=lambda eqx: "State" in repr(both(eqx)[1]),
    immutable=lambda eqx: setattr(both(eqx)[1], "x", 1),
)
short(
    "nn.State",
    of_a_model=lambda eqx: jax.tree.leaves(eqx.nn.State(counter(eqx)(4))),
    of_a_deleted_model=lambda eqx: eqx.nn.State(both(eqx)[0]),
    isinstance=lambda eqx: isinstance(both(eqx)[1], eqx.nn.State),
)
short(
    "nn.StateIndex",
    init=lambda eqx: eqx.nn.StateIndex(jnp.array(3)).init,
    leaves=lambda eqx: jax.tree.leaves(eqx.nn.StateIndex(jnp.array(3))),
    not_array=lambda eqx: eqx.nn.StateIndex(3).init,
    printed=lambda eqx: "StateIndex" in repr(eqx.nn.StateIndex(jnp.array(3))),
)
short(
    "nn.delete_init_state",
    deletes=lambda eqx: jax.tree.leaves(
        eqx.filter(eqx.nn.delete_init_state(counter(eqx)(3)), eqx.is_array)
    ),
    nothing=lambda eqx: eqx.nn.delete_init_state(make(eqx, "Linear")),
    makes_no_state=lambda eqx: eqx.nn.State(eqx.nn.delete_init_state(counter(eqx)(3))),
)
short(
    "nn.make_with_state",
    both=lambda eqx: [type(x).__name__ for x in both(eqx)],
    keywords=lambda eqx: (lambda m, s: s.get(m.index))(
        *eqx.nn.make_with_state(counter(eqx))(start=4)
    ),
    without_state=lambda eqx: eqx.nn.make_with_state(eqx.nn.Linear)(2, 3, key=KEY)[0],
    function=lambda eqx: (
        eqx.nn.make_with_state(lambda: [counter(eqx)(1)])()[0][0].index is not None
    ),
    jitted=lambda eqx: jax.tree.leaves(eqx.filter_jit(eqx.nn.make_with_state(counter(eqx)))(2)[1]),
)


def normed(eqx, mode, inference=False, **options):
    model, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, "b", mode=mode, **options)
    call = jax.vmap(model, axis_name="b", in_axes=(0, None), out_axes=(0, None))
    y, state = call(data((3, 2)), state)
    if inference:
        model = eqx.nn.inference_mode(model)
        call = jax.vmap(model, axis_name="b", in_axes=(0, None), out_axes=(0, None))
    return y, call(data((3, 2)), state)[0]


short(
    "nn.BatchNorm",
    ema=lambda eqx: normed(eqx, "ema"),
    batch=lambda eqx: normed(eqx, "batch"),
    legacy=lambda eqx: normed(eqx, "legacy"),
    ema_inference=lambda eqx: normed(eqx, "ema", True),
    batch_inference=lambda eqx: normed(eqx, "batch", True),
    plain=lambda eqx: normed(eqx, "batch", channelwise_affine=False),
    default_mode=lambda eqx: type(eqx.nn.BatchNorm(2, "b")).__name__,
    wrong_mode=lambda eqx: eqx.nn.BatchNorm(2, "b", mode="word"),
    stateful=lambda eqx: eqx.nn.BatchNorm(2, "b", mode="ema").is_stateful(),
    without_vmap=lambda eqx: (lambda m, s: m(jnp.ones(2), s))(
        *eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, "b", mode="batch")
    ),
    in_sequential=lambda eqx: (
        lambda m, s: jax.vmap(m, axis_name="b", in_axes=(0, None), out_axes=(0, None))(
            data((3, 2)), s
        )[0]
    )(
        *eqx.nn.make_with_state(
            lambda: eqx.nn.Sequential([make(eqx, "Linear"), eqx.nn.BatchNorm(3, "b", mode="ema")])
        )()
    ),
    in_sequential_without_state=lambda eqx: eqx.nn.Sequential(
        [eqx.nn.BatchNorm(3, "b", mode="ema")]
    )(jnp.ones(3)),
)


@program("nn.StatefulLayer")
def stateful_layer(eqx):
    class Counting(eqx.nn.StatefulLayer):
        index: object

        def __init__(self):
            self.index = eqx.nn.StateIndex(jnp.array(0))

        def __call__(self, x, state, *, key=None):
            return x + 1, state.set(self.index, state.get(self.index) + 1)

    make = eqx.nn.make_with_state(
        lambda: eqx.nn.Sequential([Counting(), eqx.nn.Identity(), Counting()])
    )
    model, state = make()
    y, state = model(jnp.array(0), state)
    return y, jax.tree.leaves(state), Counting().is_stateful()


@program("nn.StatefulLayer")
def stateful_layer_alone(eqx):
    return eqx.nn.StatefulLayer(), eqx.nn.StatefulLayer().is_stateful()


@program("nn.LayerNorm")
def layer_norm_old_option(eqx):
    return eqx.nn.LayerNorm(3, elementwise_affine=False)


@program("nn.LayerNorm")
def layer_norm_state(eqx):
    layer = eqx.nn.LayerNorm(2)
    return layer(jnp.ones(2), eqx.nn.State(layer))[0]
