"""Every layer in every dtype, under strict promotion; and arrays without elements."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import nn_layers as nn

pytestmark = pytest.mark.heavy

KEY = jr.PRNGKey(0)
DTYPES = ["float64", "bfloat16", "float16", "complex64"]  # float32 is that of all other tests
# Complex numbers have no order: no maximum, and so no softmax.
COMPARES = {"MaxPool1d", "AdaptiveMaxPool1d", "MultiheadAttention"}


def double():
    return jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64()


def subjects(d):
    """Name: a layer with parameters of dtype `d`, and the shapes of its arguments."""
    linear = lambda key: nn.Linear(3, 3, dtype=d, key=key)  # noqa: E731
    gru, lstm = (cell(3, 2, dtype=d, key=KEY) for cell in (nn.GRUCell, nn.LSTMCell))
    drops = {"dropout_p": 0.3, "num_kv_heads": 1, "use_query_bias": True}
    circular = {"padding": 1, "padding_mode": "CIRCULAR"}
    return {
        "Linear": (nn.Linear(3, 2, dtype=d, key=KEY), (3,)),
        "Linear of scalars": (nn.Linear("scalar", "scalar", dtype=d, key=KEY), ()),
        "Conv1d": (nn.Conv1d(2, 2, 3, dtype=d, **circular, key=KEY), (2, 5)),
        "ConvTranspose1d": (nn.ConvTranspose1d(2, 2, 2, dtype=d, key=KEY), (2, 5)),
        "Pool": (nn.Pool(0, jax.lax.add, 1, 2), (2, 5)),
        "AvgPool1d": (nn.AvgPool1d(2), (2, 5)),
        "MaxPool1d": (nn.MaxPool1d(2), (2, 5)),
        "AdaptiveAvgPool1d": (nn.AdaptiveAvgPool1d(2), (2, 5)),
        "AdaptiveMaxPool1d": (nn.AdaptiveMaxPool1d(2), (2, 5)),
        "LayerNorm": (nn.LayerNorm(4, dtype=d), (4,)),
        "RMSNorm": (nn.RMSNorm(4, dtype=d), (4,)),
        "GroupNorm": (nn.GroupNorm(2, 4, dtype=d), (4, 3)),
        "Dropout": (nn.Dropout(0.5), (4,)),
        "PReLU": (nn.PReLU(), (4,)),
        "MLP by a scan": (nn.MLP(3, 2, 4, 3, jnp.tanh, dtype=d, scan=True, key=KEY), (3,)),
        "Stacked": (nn.Stacked(linear, 2, key=KEY), (3,)),
        "MultiheadAttention": (nn.MultiheadAttention(2, 4, dtype=d, **drops, key=KEY), (3, 4)),
        "GRUCell": (gru, (3,), (2,)),
        "LSTMCell": (lstm, (3,), [(2,), (2,)]),
        "Bidirectional": (nn.Bidirectional(lstm, gru, return_sequences=False), (4, 3)),
        "WeightNorm": (nn.WeightNorm(nn.Linear(3, 2, dtype=d, key=KEY)), (3,)),
        "RotaryPositionalEmbedding": (nn.RotaryPositionalEmbedding(4), (3, 4)),
        "Rotary, narrow": (nn.RotaryPositionalEmbedding(4, dtype="bfloat16"), (3, 4)),
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtype_stays_forwards_and_backwards(dtype):
    """On shapes alone: that dtypes mix shows while tracing. Values are tested layer by layer."""
    with double():
        for name, (layer, *shapes) in subjects(dtype).items():
            if name in COMPARES and dtype.startswith("complex"):
                continue
            is_shape = lambda s: isinstance(s, tuple)  # noqa: E731
            like = lambda s: jax.ShapeDtypeStruct(s, dtype)  # noqa: E731
            xs = jax.tree.map(like, shapes, is_leaf=is_shape)
            xs = xs * 3 if name == "MultiheadAttention" else xs

            def both(*xs, layer=layer):
                y, back = jax.vjp(lambda *xs: layer(*xs, key=KEY), *xs)
                return y, back(jax.tree.map(jnp.ones_like, y))

            dtypes = {str(x.dtype) for x in jax.tree.leaves(jax.eval_shape(both, *xs))}
            assert dtypes == {dtype}, name


@pytest.mark.parametrize("mode", ["batch", "ema"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtype_stays_with_a_state(dtype, mode):
    with double():
        norm, state = nn.make_with_state(nn.BatchNorm)(2, "b", mode=mode, dtype=dtype)
        batched = jax.vmap(norm, (0, None), (0, None), axis_name="b")
        for x in (jnp.ones((4, 2), dtype), jnp.ones((4, 2, 3), dtype)):
            y, new = jax.eval_shape(batched, x, state)
            assert y.dtype == dtype
            kinds = [[(v.shape, v.dtype) for v in jax.tree.leaves(s)] for s in (new, state)]
            assert kinds[0] == kinds[1]
        y, _ = jax.eval_shape(nn.inference_mode(norm), x[0], state)
        assert y.dtype == dtype


EMPTY = {
    "Linear": (lambda: nn.Linear(0, 3, key=KEY), (0,), (3,)),
    "Linear to nothing": (lambda: nn.Linear(3, 0, key=KEY), (3,), (0,)),
    "MLP": (lambda: nn.MLP(0, 2, 0, 2, key=KEY), (0,), (2,)),
    "MLP by a scan": (lambda: nn.MLP(0, 2, 0, 3, scan=True, key=KEY), (0,), (2,)),
    "Stacked": (lambda: nn.Stacked(lambda key: nn.Linear(2, 2, key=key), 0, key=KEY), (2,), (2,)),
    "LayerNorm": (lambda: nn.LayerNorm(0), (0,), (0,)),
    "RMSNorm": (lambda: nn.RMSNorm((2, 0)), (2, 0), (2, 0)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (4, 0), (4, 0)),
    "GroupNorm, no channels": (lambda: nn.GroupNorm(1, 0), (0, 4), (0, 4)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 2, key=KEY), (2, 0), (3, 0)),
    "Conv1d, no channels": (lambda: nn.Conv1d(0, 3, 2, key=KEY), (0, 4), (3, 3)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 3, 1, key=KEY), (2, 0), (3, 0)),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), (2, 0), (2, 0)),
    "AvgPool1d, no channels": (lambda: nn.AvgPool1d(2), (0, 4), (0, 3)),
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(2), (0, 4), (0, 2)),
    "Dropout": (lambda: nn.Dropout(0.5), (0,), (0,)),
    "PReLU": (lambda: nn.PReLU(), (0, 2), (0, 2)),
    "RotaryPositionalEmbedding": (lambda: nn.RotaryPositionalEmbedding(4), (0, 4), (0, 4)),
    "GRUCell, no steps": (lambda: nn.RNN(nn.GRUCell(2, 3, key=KEY)), (0, 2), (0, 3)),
    "LSTMCell, no steps": (lambda: nn.RNN(nn.LSTMCell(2, 3, key=KEY), True), (0, 2), (0, 3)),
    "LSTMCell": (lambda: nn.RNN(nn.LSTMCell(0, 3, key=KEY)), (4, 0), (4, 3)),
    "WeightNorm": (lambda: nn.WeightNorm(nn.Linear(0, 2, key=KEY)), (0,), (2,)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_without_elements(name):
    make, given, expected = EMPTY[name]
    layer, x = make(), jnp.zeros(given)

    @jax.jit
    def both(x):
        y, back = jax.vjp(lambda x: layer(x, key=KEY), x)
        return y, back(jnp.ones_like(y))[0]

    y, gradient = both(x)
    assert (y.shape, gradient.shape) == (expected, given)
    assert np.isfinite(y).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize(("queries", "keys"), [(0, 3), (3, 0), (0, 0)])
def test_attention_to_nothing(queries, keys):
    """A query that sees no key gets what a mean of nothing is taken to be: zero."""
    attention = nn.MultiheadAttention(2, 4, use_output_bias=True, key=KEY)

    @jax.jit
    def both(q, k):
        y, back = jax.vjp(lambda q, k: attention(q, k, k), q, k)
        return y, back(jnp.ones_like(y))

    y, gradients = both(jnp.ones((queries, 4)), jnp.ones((keys, 4)))
    np.testing.assert_allclose(y, np.tile(attention.output_proj.bias, (queries, 1)), rtol=1e-6)
    assert all((g == 0).all() for g in gradients)
