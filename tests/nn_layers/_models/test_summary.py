"""`summary`: the table against what the layers put out when they are called."""

import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

from filtered_transforms import filter_eval_shape
from nn_layers import (
    RNN,
    BatchNorm,
    GRUCell,
    Linear,
    MultiheadAttention,
    Sequential,
    Stacked,
    make_with_state,
    summary,
)
from pytree_module import Module
from tree_surgery import tree_size

KEY = jr.PRNGKey(3)


def cells(text):
    """The rows of a table in markdown."""
    return [[c.strip(" `") for c in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def rows(model, *example, **named):
    return cells(summary(model, *example, format="markdown", **named))


def test_layers_parameters_and_shapes():
    model = Sequential([Linear(3, 8, key=KEY), jax.nn.relu, Linear(8, 2, key=KEY)])
    assert rows(model, jnp.ones(3)) == [
        ["layers[0]", "Linear", "32", "float32[8]", "1"],
        ["layers[2]", "Linear", "18", "float32[2]", "1"],
        ["total", "Sequential", "50", "float32[2]", "1"],
    ]
    assert rows(model, jnp.ones(3), depth=0) == [["total", "Sequential", "50", "float32[2]", "1"]]
    text = summary(model, jnp.ones(3)).splitlines()
    assert text[0].split() == ["layer", "type", "parameters", "output", "calls"]
    assert text[2].split() == ["layers[0]", "Linear", "32", "float32[8]", "1"]
    table = summary(model, jnp.ones(3), format="html")
    assert table.count("<tr>") == 4 and "<td>float32[8]</td>" in table


def test_nothing_is_computed():
    def make(key):
        return Linear(100_000, 100_000, key=key)  # 40 GB

    x = jax.ShapeDtypeStruct((100_000,), jnp.float32)
    model = filter_eval_shape(make, KEY)
    assert rows(model, x) == [["total", "Linear", "10,000,100,000", "float32[100000]", "1"]]


def test_batches_stacks_and_steps_say_so():
    def make(key):
        return Sequential(
            [
                Stacked(lambda key: Linear(4, 4, key=key), 3, key=key),
                BatchNorm(4, "b", mode="batch"),
            ]
        )

    model, state = make_with_state(make)(KEY)

    def call(model, x, state):
        axes = (0, None)
        return jax.vmap(model, in_axes=axes, out_axes=axes, axis_name="b")(x, state)

    found = rows(
        model,
        jnp.ones((5, 4)),
        state,
        call=call,
    )
    assert found == [
        ["layers[0]", "Stacked", "60", "float32[4]", "1, in vmap"],
        ["layers[0].layers", "Linear", "60", "float32[4]", "1, in each of 3 layers"],
        ["layers[1]", "BatchNorm", "8", "float32[4]", "1, in vmap"],
        ["total", "Sequential", "68", "float32[5,4]", "1"],
    ]
    rnn = rows(RNN(GRUCell(3, 2, key=KEY)), jnp.ones((7, 3)))
    assert [row[4] for row in rnn] == ["in each step", "1"]


def test_several_calls_and_none():
    linear = Linear(4, 4, key=KEY)
    found = rows([linear, linear], jnp.ones(4), call=lambda model, x: model[0](model[0](x)))
    assert [row[4] for row in found] == ["2", "not called", "1"]


def test_keys_and_named_arguments_and_the_model_as_it_was():
    layer, x = MultiheadAttention(2, 4, dropout_p=0.5, key=KEY), jnp.ones((5, 4))
    found = rows(layer, x, x, x, key=KEY, is_causal=True)
    assert found[-1][2:4] == [str(tree_size(layer).parameters), "float32[5,4]"]
    assert [row[0] for row in found[:-1]] == [
        "query_proj",
        "key_proj",
        "value_proj",
        "output_proj",
        "dropout",
    ]
    assert type(layer) is MultiheadAttention and type(layer.query_proj) is Linear


def test_a_layer_with_several_outputs():
    class Two(Module):
        linear: Linear

        def __call__(self, x):
            return self.linear(x), x.astype(jnp.float16)

    assert rows(Two(Linear(3, 2, key=KEY)), jnp.ones(3))[-1][3] == "float32[2], float16[3]"


def test_arguments_that_do_not_exist():
    linear = Linear(3, 2, key=KEY)
    with pytest.raises(ValueError, match="one of .*'html'.*not 'pdf'"):
        summary(linear, jnp.ones(3), format="pdf")
    with pytest.raises(ValueError, match="0 or more, not -1"):
        summary(linear, jnp.ones(3), depth=-1)
    with pytest.raises(ValueError, match=r"takes an array of shape \(3,\)"):
        summary(linear, jnp.ones(4))
