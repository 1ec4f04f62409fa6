"""What `old_pickles.pkl` holds, by name: `python old_pickle_cases.py FILE` writes it anew."""

import pickle
import sys

import jax
import jax.numpy as jnp

import equinoctial as eqx
from equinoctial import internal, nn

KEY = jax.random.PRNGKey(0)
X = jnp.array([0.5, -1.0])


def square(x):
    return x * x


def double(x):
    return 2 * x


def first(pair):
    return pair[0].weight


def second(pair):
    return pair[1].weight


@eqx.filter_custom_vjp
def custom_vjp(x):
    return x * x


@custom_vjp.def_fwd
def _(perturbed, x):
    return x * x, x


@custom_vjp.def_bwd
def _(residuals, grad, perturbed, x):
    return 3 * residuals * grad


@eqx.filter_custom_jvp
def custom_jvp(x):
    return x * x


@custom_jvp.def_jvp
def _(primals, tangents):
    return primals[0] ** 2, 5 * primals[0] * tangents[0]


class Codes(eqx.Enumeration):
    good = "good"
    bad = "bad"


def linear():
    return nn.Linear(2, 2, key=KEY)


def stateful(make):
    return eqx.nn.make_with_state(make)()


def cell():
    return nn.GRUCell(2, 2, key=KEY)


def raised(error):
    def catch():
        try:
            error()
        except Exception as e:
            return e

    return catch


LAYERS = {
    "linear": linear,
    "identity": lambda: nn.Identity(),
    "mlp": lambda: nn.MLP(2, 2, 3, 1, key=KEY),
    "conv": lambda: nn.Conv1d(1, 1, 2, key=KEY),
    "conv2": lambda: nn.Conv(2, 1, 1, 2, key=KEY),
    "conv_transpose": lambda: nn.ConvTranspose1d(1, 1, 2, key=KEY),
    "avg_pool": lambda: nn.AvgPool1d(2),
    "max_pool": lambda: nn.MaxPool2d(2),
    "pool": lambda: nn.Pool(0, jax.lax.add, 1, 2, 1),
    "adaptive_avg": lambda: nn.AdaptiveAvgPool1d(2),
    "adaptive_max": lambda: nn.AdaptiveMaxPool2d(2),
    "adaptive": lambda: nn.AdaptivePool(2, 1, jnp.mean),
    "batch_norm": lambda: stateful(lambda: nn.BatchNorm(2, "b")),
    "batch_norm_ema": lambda: stateful(lambda: nn.BatchNorm(2, "b", mode="ema")),
    "layer_norm": lambda: nn.LayerNorm(2),
    "group_norm": lambda: nn.GroupNorm(1, 2),
    "rms_norm": lambda: nn.RMSNorm(2),
    "weight_norm": lambda: nn.WeightNorm(linear()),
    "spectral_norm": lambda: stateful(lambda: nn.SpectralNorm(linear(), "weight", key=KEY)),
    "state_index": lambda: nn.StateIndex(jnp.zeros(2)),
    "attention": lambda: nn.MultiheadAttention(1, 2, key=KEY),
    "kv_cache": lambda: nn.MultiheadAttention(1, 2, key=KEY).init_cache(2),
    "rotary": lambda: nn.RotaryPositionalEmbedding(2),
    "gru": cell,
    "lstm": lambda: nn.LSTMCell(2, 2, key=KEY),
    "rnn": lambda: nn.RNN(cell()),
    "bidirectional": lambda: nn.Bidirectional(cell(), cell()),
    "stacked": lambda: nn.Stacked(lambda k: nn.Linear(2, 2, key=k), 2, key=KEY),
    "sequential": lambda: nn.Sequential([nn.Lambda(square), nn.Identity(), linear()]),
    "dropout": lambda: nn.Dropout(0.5),
    "embedding": lambda: nn.Embedding(2, 2, key=KEY),
    "prelu": lambda: nn.PReLU(),
    "shared": lambda: nn.Shared((linear(), linear()), first, second),
}
METHODS = {
    f"method_{name}": lambda make=make: (
        (
            made := make(),
            made[0] if isinstance(made, tuple) else made,
        )[1].__call__
    )
    for name, make in LAYERS.items()
    if name not in ("kv_cache", "state_index")
}
OTHERS = {
    "jit": lambda: eqx.filter_jit(square),
    "jit_options": lambda: eqx.filter_jit(square, donate="none"),
    "vmap": lambda: eqx.filter_vmap(square),
    "pmap": lambda: eqx.filter_pmap(square),
    "grad": lambda: eqx.filter_grad(square),
    "value_and_grad": lambda: eqx.filter_value_and_grad(square),
    "jacfwd": lambda: eqx.filter_jacfwd(square),
    "jacrev": lambda: eqx.filter_jacrev(square),
    "hessian": lambda: eqx.filter_hessian(square),
    "checkpoint": lambda: eqx.filter_checkpoint(square),
    "make_jaxpr": lambda: eqx.filter_make_jaxpr(square),
    "shard_map": lambda: eqx.filter_shard_map(square, None, None, None),
    "custom_vjp": lambda: custom_vjp,
    "custom_jvp": lambda: custom_jvp,
    "noinline": lambda: internal.noinline(square),
    "jit_of_layer": lambda: eqx.filter_jit(linear()),
    "jit_method": lambda: eqx.filter_jit(linear().__call__),
    "vmap_of_mlp": lambda: eqx.filter_vmap(LAYERS["mlp"]()),
    "if_array": lambda: eqx.if_array(0),
    "omega": lambda: internal.ω(X),
    "closure": lambda: eqx.filter_closure_convert(square, X),
    "partial": lambda: eqx.Partial(double, X),
    "static": lambda: eqx.Static("x"),
    "frozen": lambda: eqx.freeze({"a": X}, "a"),
    "tied": lambda: eqx.tie({"a": X, "b": X}, [("a", "b")]),
    "labels": lambda: eqx.tree_labels(LAYERS["mlp"](), {"x": "**.weight"}, default="y"),
    "mask": lambda: eqx.tree_mask(LAYERS["mlp"](), "**.weight"),
    "where_path": lambda: eqx.where.path("a.*"),
    "where_deep": lambda: eqx.where.path("**.b[0].x[1:2]"),
    "where_type": lambda: eqx.where.type(nn.Linear),
    "where_or": lambda: eqx.where.path("a.*") | eqx.where.type(int),
    "where_and": lambda: eqx.where.path("a.*") & eqx.where.type(int),
    "where_not": lambda: ~eqx.where.path("a.*"),
    "where_leaf": lambda: eqx.where.leaf(eqx.is_array),
    "where_array": lambda: eqx.where.array(),
    "where": lambda: eqx.where,
    "at": lambda: eqx.at({"a": 1}),
    "equality": lambda: eqx.tree_equal({"a": 1}, {"a": 2}, explain=True),
    "diff": lambda: eqx.tree_diff({"a": 1}, {"a": 2}),
    "size": lambda: eqx.tree_size({"a": X}),
    "sharding_rules": lambda: eqx.ShardingRules({}),
    "get_key": lambda: internal.GetKey(0),
    "code": lambda: Codes.bad,
    "codes": lambda: Codes,
    "enum_promoted": lambda: Codes.where(jnp.array(True), Codes.good, Codes.bad),
    "where_error": raised(lambda: eqx.tree_at(lambda t: t, 1, 2, 3)),
    "runtime_error": raised(lambda: eqx.error_if(X, X > 0, "positive")),
    "jit_error": raised(lambda: eqx.filter_jit(lambda x: eqx.error_if(x, x > 0, "high"))(X)),
    "shape_error": raised(lambda: linear()(jnp.ones(3))),
    "sharding_error": lambda: eqx.ShardingError("x"),
    "serialise_error": lambda: eqx.SerialiseError("x"),
    "nan_report": lambda: eqx.debug.find_nan(jnp.log, -X),
    "trace_modules": lambda: eqx.debug.trace_modules(linear(), X),
    "meter": lambda: internal.TextProgressMeter(),
    "no_meter": lambda: internal.NoProgressMeter(),
    "function_error_if": lambda: eqx.error_if,
    "function_tree_at": lambda: eqx.tree_at,
    "is_array": lambda: eqx.is_array,
}
CASES = {**LAYERS, **METHODS, **OTHERS}

if __name__ == "__main__":
    import old_pickle_cases  # by its name, so that the pickles name it, and not `__main__`

    written = {}
    for name, make in old_pickle_cases.CASES.items():
        try:
            written[name] = pickle.dumps(make(), protocol=4)
        except Exception as e:
            print("not pickled:", name, type(e).__name__, str(e)[:100])
    with open(sys.argv[1], "wb") as file:
        pickle.dump(written, file, protocol=4)
