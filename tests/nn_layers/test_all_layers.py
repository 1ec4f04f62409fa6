"""What holds for every layer: key, tree, equality, one trace, pickle, documentation."""

import copy
import inspect
import pickle
import re

import cloudpickle
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import nn_layers as nn
from filtered_transforms import (
    combine,
    filter_eval_shape,
    filter_grad,
    filter_jit,
    filter_vmap,
    if_array,
    is_array,
    partition,
)
from pytree_module import Module
from tree_surgery import tree_equal, tree_pformat

KEY = jr.PRNGKey(9)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


# Name: how to make one, an input, and the paths of the leaves.
LAYERS = {
    "Linear": (lambda: nn.Linear(3, 2, key=KEY), (3,), ".weight .bias"),
    "Conv": (lambda: nn.Conv(1, 2, 3, 2, key=KEY), (2, 5), ".weight .bias"),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 2, key=KEY), (2, 5), ".weight .bias"),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 2, key=KEY), (2, 5, 5), ".weight .bias"),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2, key=KEY), (2, 4, 4, 4), ".weight .bias"),
    "ConvTranspose": (lambda: nn.ConvTranspose(1, 2, 3, 2, key=KEY), (2, 3), ".weight .bias"),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 3, 2, key=KEY), (2, 3), ".weight .bias"),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 2, key=KEY), (2, 3, 3), ".weight .bias"),
    "ConvTranspose3d": (
        lambda: nn.ConvTranspose3d(2, 3, 2, key=KEY),
        (2, 3, 3, 3),
        ".weight .bias",
    ),
    "Pool": (lambda: nn.Pool(0, jax.lax.add, 1, 2), (2, 5), ".init .operation"),
    "AvgPool1d": (lambda: nn.AvgPool1d(2), (2, 5), ".init .operation"),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (2, 5, 5), ".init .operation"),
    "AvgPool3d": (lambda: nn.AvgPool3d(2), (2, 4, 4, 4), ".init .operation"),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), (2, 5), ".init .operation"),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (2, 5, 5), ".init .operation"),
    "MaxPool3d": (lambda: nn.MaxPool3d(2), (2, 4, 4, 4), ".init .operation"),
    "AdaptivePool": (lambda: nn.AdaptivePool(2, 1, jnp.max), (2, 5), ".operation"),
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(2), (2, 5), ".operation"),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(2), (1, 3, 2), ".operation"),
    "AdaptiveAvgPool3d": (lambda: nn.AdaptiveAvgPool3d(2), (1, 3, 2, 2), ".operation"),
    "AdaptiveMaxPool1d": (lambda: nn.AdaptiveMaxPool1d(2), (2, 5), ".operation"),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(2), (1, 3, 2), ".operation"),
    "AdaptiveMaxPool3d": (lambda: nn.AdaptiveMaxPool3d(2), (1, 3, 2, 2), ".operation"),
    "LayerNorm": (lambda: nn.LayerNorm(3), (3,), ".weight .bias"),
    "Dropout": (lambda: nn.Dropout(0.5, inference=True), (3,), ".p .inference"),
    "MLP": (
        lambda: nn.MLP(3, 2, 4, 1, key=KEY),
        (3,),
        ".layers[0].weight .layers[0].bias .layers[1].weight .layers[1].bias .activation "
        ".final_activation",
    ),
    "Sequential": (lambda: nn.Sequential([nn.Lambda(jnp.sin)]), (3,), ".layers[0].fn"),
    "Stacked": (
        lambda: nn.Stacked(lambda key: nn.Linear(3, 3, key=key), 2, key=KEY),
        (3,),
        ".layers.weight .layers.bias",
    ),
    "Lambda": (lambda: nn.Lambda(jax.nn.relu), (3,), ".fn"),
    "Identity": (lambda: nn.Identity(), (3,), ""),
    "RMSNorm": (lambda: nn.RMSNorm(3), (3,), ".weight .bias"),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (4, 3), ".weight .bias"),
    "PReLU": (lambda: nn.PReLU(), (3,), ".negative_slope"),
    "Embedding": (lambda: nn.Embedding(4, 2, key=KEY), (), ".weight"),
    "RotaryPositionalEmbedding": (lambda: nn.RotaryPositionalEmbedding(4), (3, 4), ""),
    "MultiheadAttention": (
        lambda: nn.MultiheadAttention(2, 4, use_output_bias=True, key=KEY),
        [(3, 4), (2, 4), (2, 4)],
        ".query_proj.weight .key_proj.weight .value_proj.weight .output_proj.weight "
        ".output_proj.bias .dropout.p .dropout.inference",
    ),
    "GRUCell": (
        lambda: nn.GRUCell(3, 2, key=KEY),
        [(3,), (2,)],
        ".weight_ih .weight_hh .bias .bias_n",
    ),
    "RNN": (
        lambda: nn.RNN(nn.GRUCell(3, 2, key=KEY)),
        (4, 3),
        ".cell.weight_ih .cell.weight_hh .cell.bias .cell.bias_n",
    ),
    "Bidirectional": (
        lambda: nn.Bidirectional(*[nn.LSTMCell(3, 2, use_bias=False, key=KEY)] * 2),
        (4, 3),
        ".forward.cell.weight_ih .forward.cell.weight_hh .backward.cell.weight_ih "
        ".backward.cell.weight_hh",
    ),
    "WeightNorm": (
        lambda: nn.WeightNorm(nn.Linear(3, 2, key=KEY)),
        (3,),
        ".layer.weight .layer.bias .g ._norm",
    ),
    "LSTMCell": (
        lambda: nn.LSTMCell(3, 2, key=KEY),
        [(3,), ((2,), (2,))],
        ".weight_ih .weight_hh .bias",
    ),
}


def given(name, *batch):
    """The arguments of a layer, with leading axes."""
    shapes = LAYERS[name][1]
    if name == "Embedding":
        return (jnp.ones(batch, "i4"),)
    is_shape = lambda s: isinstance(s, tuple) and all(isinstance(n, int) for n in s)  # noqa: E731
    draw = lambda s: normal((*batch, *s))  # noqa: E731
    shapes = shapes if isinstance(shapes, list) else [shapes]
    return tuple(jax.tree.map(draw, shapes, is_leaf=is_shape))


def same(x, y, **tolerances):
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_allclose(a, b, **tolerances)


# Called with a state, or without an input: tested on their own.
WITHOUT_ONE_CALL = {"StatefulLayer", "StateIndex", "BatchNorm", "SpectralNorm", "Shared", "KVCache"}

each_layer = pytest.mark.parametrize("name", LAYERS)
# The layers for two and three dimensions run the code of those for one.
each_kind = pytest.mark.parametrize("name", [n for n in LAYERS if n[-2:] not in ("2d", "3d")])


def test_the_table_is_complete():
    classes = {name for name in nn.__all__ if isinstance(getattr(nn, name), type(Module))}
    assert classes == set(LAYERS) | WITHOUT_ONE_CALL


@each_layer
def test_leaves_are_named_and_ordered(name):
    make, _, paths = LAYERS[name]
    found = jax.tree_util.tree_flatten_with_path(make())[0]
    assert [jax.tree_util.keystr(path) for path, _ in found] == paths.split()


@each_layer
def test_takes_a_key_or_none(name):
    layer, x = LAYERS[name][0](), given(name)
    y = layer(*x, key=None)
    same(y, layer(*x), rtol=0)
    same(y, layer(*x, key=KEY), rtol=0)
    parameter = inspect.signature(type(layer).__call__).parameters["key"]
    assert parameter.kind is parameter.KEYWORD_ONLY
    assert parameter.default is None


@each_layer
def test_equal_layers_are_equal_and_share_a_trace(name):
    make, x = LAYERS[name][0], given(name)
    assert tree_equal(make(), make(), typematch=True)
    assert jax.tree_util.tree_structure(make()) == jax.tree_util.tree_structure(make())
    traces = []

    @filter_jit
    def call(layer, x):
        traces.append(1)
        return layer(*x)

    y = [call(make(), x) for _ in range(3)]
    assert len(traces) == 1
    same(y[0], make()(*x), rtol=1e-4, atol=1e-6)


@each_kind
def test_nothing_that_is_traced_outlives_its_trace(name):
    def loss(layer_and_inputs):
        layer, x = layer_and_inputs
        return sum(jnp.sum(y) for y in jax.tree.leaves(layer(*x)))

    called = LAYERS[name][0](), given(name)
    with jax.checking_leaks():
        filter_jit(filter_grad(loss))(called)
        filter_grad(filter_jit(loss))(called)


@each_kind
def test_vmap_is_a_loop(name):
    layer, x = LAYERS[name][0](), given(name, 3)
    y = jax.vmap(layer)(*x)
    for i in range(3):
        own_x, own_y = jax.tree.map(lambda a, i=i: a[i], (x, y))
        same(own_y, layer(*own_x), rtol=1e-4, atol=1e-5)


ANY_SHAPE = {"Dropout", "Sequential", "Lambda", "Identity", "PReLU"}
WITHIN = {"MLP": "Linear", "Stacked": "Linear", "WeightNorm": "Linear"}  # which layer is named


@pytest.mark.parametrize("name", [n for n in LAYERS if n not in ANY_SHAPE])
def test_a_wrong_shape_is_an_error_that_says_what_to_do(name):
    layer, first = LAYERS[name][0](), given(name)[0]
    cases = {"one axis too many": given(name, 3)}
    if first.ndim:
        cases["one too few"] = (first[0], *given(name)[1:])
    for case, x in cases.items():
        messages = []
        for call in (layer, jax.jit(lambda *x: layer(*x)), filter_jit(layer)):
            with pytest.raises(nn.ShapeError) as caught:
                call(*x)
            messages.append(str(caught.value))
        assert messages[1:] == messages[:1] * 2  # the same while traced
        assert f"`{WITHIN.get(name, name)}` takes an array of shape (" in messages[0]
        assert str(x[0].shape) in messages[0]
        assert caught.value.received == x[0].shape
        assert ("jax.vmap(layer)(x)" in messages[0]) == (
            case == "one axis too many" or name == "GroupNorm"
        )


WAYS = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "cloudpickle": lambda x: pickle.loads(cloudpickle.dumps(x)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@each_layer
def test_copies_and_pickles(name):
    layer, x = LAYERS[name][0](), given(name)
    traces = 0

    @filter_jit
    def run(layer, *x):
        nonlocal traces
        traces += 1
        return layer(*x)

    expected = run(layer, *x)
    for way, carry in WAYS.items():
        other = carry(layer)
        assert type(other) is type(layer) and tree_equal(other, layer), way
        assert jax.tree.structure(other) == jax.tree.structure(layer), way
        same(run(other, *x), expected, rtol=0)
        assert traces == 1, way


@each_layer
def test_skeleton_without_computing(name):
    make, x = LAYERS[name][0], given(name)
    skeleton = filter_eval_shape(make)
    arrays, static = partition(make(), is_array)
    shapes = jax.tree_util.tree_map(lambda x: jax.eval_shape(lambda: x), arrays)
    is_struct = lambda x: isinstance(x, jax.ShapeDtypeStruct)  # noqa: E731
    assert [s for s in jax.tree_util.tree_leaves(skeleton) if is_struct(s)] == (
        jax.tree_util.tree_leaves(shapes)
    )
    same(combine(arrays, static)(*x), make()(*x), rtol=0)


@each_layer
def test_prints_its_public_name(name):
    assert tree_pformat(LAYERS[name][0]()).startswith(f"{name}(")
    assert getattr(nn, name).__module__ == "nn_layers"


@pytest.mark.parametrize("name", ["Linear", "Conv1d", "MLP"])
def test_an_ensemble_is_made_and_called_by_vmap(name):
    shape = LAYERS[name][1]
    make = {
        "Linear": lambda key: nn.Linear(3, 2, key=key),
        "Conv1d": lambda key: nn.Conv1d(2, 3, 2, key=key),
        "MLP": lambda key: nn.MLP(3, 2, 4, 2, key=key),
    }[name]
    keys, x = jr.split(KEY, 3), normal(shape)
    ensemble = filter_vmap(make)(keys)
    y = filter_vmap(lambda layer, x: layer(x), in_axes=(if_array(0), None))(ensemble, x)
    for i in range(3):
        np.testing.assert_allclose(y[i], make(keys[i])(x), rtol=1e-4, atol=1e-5)


def examples():
    for name in nn.__all__:
        value = getattr(nn, name)
        yield name, inspect.cleandoc(value.__doc__ or "")


@pytest.mark.parametrize(("name", "text"), [pytest.param(*e, id=e[0]) for e in examples()])
def test_the_example_of_the_docstring_runs(name, text):
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    if name == "tree_inference":
        return
    assert blocks, f"{name} shows no example"
    for block in blocks:
        exec(compile(inspect.cleandoc(block), f"<docstring of {name}>", "exec"), {})


KEYED = {"Embedding": (2, 3), "MLP": (2, 3, 4, 1), "Stacked": (lambda key: nn.Identity(), 2)}
KEYED |= {"SpectralNorm": (nn.Linear(2, 2, key=KEY), "weight")}


@pytest.mark.parametrize(
    "name", [n for n in nn.__all__ if "key" in inspect.signature(getattr(nn, n)).parameters]
)
def test_one_that_draws_parameters_says_that_it_needs_a_key(name):
    make = getattr(nn, name)
    needed = [p for p in inspect.signature(make).parameters.values() if p.default is p.empty]
    sizes = KEYED.get(name, (2,) * (len(needed) - 1))
    with pytest.raises((TypeError, ValueError), match=f"`{name}`.*key"):
        make(*sizes, key=None)


VARIANTS = [n for n in LAYERS if n[-2:] in ("1d", "2d", "3d")]


@pytest.mark.parametrize("name", VARIANTS)
def test_signatures_of_one_two_and_three_dimensions(name):
    ndim, kind = int(name[-2]), name[:-2]
    one = (lambda x: x) if ndim == 1 else (lambda x: (x,) * ndim)
    conv = {"stride": one(1), "padding": one(0), "dilation": one(1), "groups": 1, "use_bias": True}
    conv |= {"padding_mode": "ZEROS", "dtype": None}
    if kind == "ConvTranspose":
        conv = {"stride": one(1), "output_padding": one(0)} | conv
    pool = {"stride": 1, "padding": 0, "use_ceil": False}
    defaults = conv if "Conv" in name else {} if "Adaptive" in name else pool
    parameters = inspect.signature(getattr(nn, name)).parameters
    given = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    assert list(given.items()) == list(defaults.items())
    first = {"A": ["target_shape"], "C": ["in_channels", "out_channels", "kernel_size"]}
    kernel = first[kind[0]] if "Conv" in name or "Adaptive" in name else ["kernel_size"]
    assert list(parameters)[: len(kernel)] == kernel
    with pytest.raises(TypeError, match=rf"^{name}\.__init__\(\) missing .*'{kernel[-1]}'"):
        getattr(nn, name)()


# What the layers take but for their inputs and `key`, which all take. Used by:
USED = {
    "state": "LayerNorm RMSNorm GroupNorm Sequential Stacked",
    "cache": "MultiheadAttention",
    "mask": "MultiheadAttention RNN Bidirectional",
    "bias": "MultiheadAttention",
    "process_heads": "MultiheadAttention",
    "is_causal": "MultiheadAttention",
    "implementation": "MultiheadAttention",
    "inference": "Dropout MultiheadAttention",
    "deterministic": "Dropout MultiheadAttention",
    "initial": "RNN Bidirectional",
    "return_state": "RNN Bidirectional",
    "offset": "RotaryPositionalEmbedding",
    "positions": "RotaryPositionalEmbedding",
    "shared": "Stacked",
    "each": "Stacked",
    "collect": "Stacked",
}
INPUTS = {"x", "key", "query", "key_", "value", "input", "inputs", "hidden"}


def test_the_table_names_all_arguments():
    for name, (make, *_) in LAYERS.items():
        parameters = inspect.signature(type(make()).__call__).parameters.values()
        taken = {p.name for p in parameters if p.name != "self"} - INPUTS
        assert taken == {word for word, layers in USED.items() if name in layers.split()}, name


@pytest.mark.parametrize("word", USED)
def test_no_other_layer_takes_it(word: str):
    for name, (make, *_) in LAYERS.items():
        if name not in USED[word].split():
            with pytest.raises(TypeError, match=rf"unexpected keyword argument '{word}'"):
                make()(*given(name), **{word: None})


PASS_ON = {
    "LayerNorm": nn.LayerNorm(3),
    "RMSNorm": nn.RMSNorm(3),
    "GroupNorm": nn.GroupNorm(1, 3),
    "Sequential": nn.Sequential([nn.Linear(3, 3, key=KEY), nn.Lambda(jnp.tanh)]),
    "Stacked": nn.Stacked(lambda key: nn.Linear(3, 3, key=key), 2, key=KEY),
    "Stacked of none": nn.Stacked(lambda key: nn.Linear(3, 3, key=key), 0, key=KEY),
}


@pytest.mark.parametrize("name", PASS_ON)
def test_a_state_is_passed_on_and_nothing_else(name: str):
    layer, x = PASS_ON[name], jnp.array([1.0, -2.0, 4.0])
    _, state = nn.make_with_state(nn.BatchNorm)(3, "batch", mode="ema")
    y, same = layer(x, state)
    assert jnp.array_equal(y, layer(x))
    assert isinstance(same, nn.State) and jax.tree.all(jax.tree.map(jnp.array_equal, same, state))
    assert layer(x, None)[1] is None
    for other in (nn.KVCache(4, 1, 2, 2), x, 3):
        with pytest.raises(TypeError, match="has no use for"):
            layer(x, other)
