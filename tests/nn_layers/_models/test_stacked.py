"""`Stacked` against a loop over its layers."""

import io
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_grad, filter_jit, filter_vmap, if_array
from nn_layers import (
    BatchNorm,
    Dropout,
    Lambda,
    Linear,
    Sequential,
    ShapeError,
    Stacked,
    State,
    StatefulLayer,
    StateIndex,
    inference_mode,
    make_with_state,
)
from pytree_module import Module, field
from tree_surgery import tree_at, tree_deserialise_leaves, tree_equal, tree_serialise_leaves

pytestmark = pytest.mark.heavy

KEY = jr.PRNGKey(6)


class Block(Module):
    linear: Linear
    dropout: Dropout
    activation: object = jnp.tanh

    def __init__(self, key, dtype=None):
        self.linear = Linear(3, 3, dtype=dtype, key=key)
        self.dropout = Dropout(0.5)

    def __call__(self, x, *, key=None, scale=None, shift=None, out=False):
        y = self.activation(self.linear(x))
        y = y if scale is None else scale * y
        y = y if shift is None else y + shift
        y = self.dropout(y, key=key, inference=key is None)
        return (x + y, y) if out else x + y


def close(x, y, tolerance=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), x, y
    )


def test_it_is_a_loop_over_layers_made_from_split_keys():
    stacked, x = Stacked(Block, 4, key=KEY), jr.normal(KEY, (3,))
    y = x
    for i, key in enumerate(jr.split(KEY, 4)):
        layer = Block(key)
        assert tree_equal(stacked[i], layer)  # to the last bit
        y = layer(y)
    close(stacked(x), y)
    assert stacked.layers.linear.weight.shape == (4, 3, 3)


def test_gradients_whatever_is_unrolled_and_kept():
    layers, x = [Block(key) for key in jr.split(KEY, 4)], jr.normal(KEY, (3,))

    def loss(layers, x):
        for layer in layers:
            x = layer(x)
        return (x**2).sum()

    expected = filter_grad(loss)(layers, x)
    dots = jax.checkpoint_policies.dots_saveable
    elementwise = "elementwise"
    kept = ((1, elementwise), (3, elementwise), (1, False), (True, False), (1, True), (2, dots))
    for unroll, remat in kept:
        stacked = Stacked.from_layers(layers, unroll=unroll, remat=remat)
        gradient = filter_grad(lambda s, x: (s(x) ** 2).sum())(stacked, x)
        close(gradient.unstack(), expected)
    rematerialised = str(jax.make_jaxpr(jax.grad(lambda x: stacked(x).sum()))(x))
    assert "remat" in rematerialised or "checkpoint" in rematerialised


def test_all_layers_are_unrolled_whatever_was_compiled_before():
    layers, x = [Block(key) for key in jr.split(KEY, 4)], jr.normal(KEY, (3,))
    run = filter_jit(lambda stacked, x: stacked(x))
    for unroll, has_loop in ((1, True), (True, False), (False, True), (4, False)):
        stacked = Stacked.from_layers(layers, unroll=unroll)
        assert ("while" in run.lower(stacked, x).as_text()) is has_loop
    half = Stacked.from_layers(layers, unroll=True)[:2]
    assert "while" not in run.lower(half, x).as_text()
    close(half(x), layers[1](layers[0](x)))
    with pytest.raises(ValueError, match="`unroll` must be at least 1, got 0"):
        Stacked(Block, 4, unroll=0, key=KEY)


def test_by_default_nothing_elementwise_is_kept():
    def kept(remat):
        make = lambda key: Sequential([Linear(64, 64, key=key), Lambda(jax.nn.gelu)])  # noqa: E731
        stacked = Stacked(make, 16, remat=remat, key=KEY)
        gradient = filter_jit(filter_grad(lambda s, x: jax.vmap(s)(x).sum()))
        compiled = gradient.lower(stacked, jnp.ones((64, 64))).compile()
        return compiled.memory_analysis().temp_size_in_bytes / (16 * 64 * 64 * 4)

    inputs = 1.0  # of each layer
    assert kept(True) < inputs + 0.7 < kept("elementwise") < 2 * inputs + 0.7 < kept(False)


def test_by_default_masks_are_kept_rather_than_drawn_again():
    stacked, x = Stacked(lambda key: Dropout(0.5), 4, key=KEY), jnp.ones(8)
    gradient = jax.grad(lambda x: (stacked(x, key=KEY) ** 2).sum())
    program = str(jax.make_jaxpr(gradient)(x))
    assert "bool[4,8]" in program  # one of each layer
    assert program.count("random_bits") == 1


class Eventful(Module):
    """A layer with an effect, a loop or a branch in it."""

    weight: jax.Array
    kind: str = field(static=True)
    tell: Callable = field(static=True)

    def __call__(self, x):
        x = x * self.weight
        if self.kind == "print":
            jax.debug.callback(self.tell, x)
            return x
        if self.kind == "loop":
            return jax.lax.fori_loop(0, 3, lambda _, x: jnp.sin(jnp.sin(self.weight * x)), x)
        return jax.lax.cond(x.sum() > 0, lambda x: jnp.sin(jnp.sin(x)), jnp.cos, x)


@pytest.mark.parametrize("kind", ["print", "loop", "branch"])
def test_by_default_no_effect_loop_or_branch_is_run_twice(kind):
    told = []
    layers = [Eventful(jnp.asarray(1.0 + i), kind, told.append) for i in range(3)]

    def gradient(remat):
        stacked = Stacked.from_layers(layers, remat=remat)
        found = jax.grad(lambda x: stacked(x).sum())
        return found(jnp.ones(2)), str(jax.make_jaxpr(found)(jnp.ones(2)))

    value, program = gradient("elementwise")
    jax.effects_barrier()
    if kind == "print":
        assert len(told) == 3
    assert program.count(" sin") == gradient(False)[1].count(" sin")
    assert program.count(" sin") < gradient(True)[1].count(" sin") or kind == "print"
    x = jnp.ones(2)

    def by_hand(x):
        for layer in layers:
            x = layer(x)
        return x.sum()

    close(value, jax.grad(by_hand)(x))


def test_each_layer_has_its_key():
    stacked, x = Stacked(Block, 3, key=KEY), jr.normal(KEY, (3,))
    y = x
    for layer, key in zip(stacked, jr.split(jr.PRNGKey(0), 3), strict=True):
        y = layer(y, key=key)
    close(stacked(x, key=jr.PRNGKey(0)), y)
    typed = stacked(x, key=jr.key(0))
    close(typed, y)


def test_further_inputs_and_outputs():
    stacked, x = Stacked(Block, 3, key=KEY), jr.normal(KEY, (3,))
    scales, shift = jnp.array([1.0, 2.0, 3.0]), jnp.ones(3)
    out, ys = stacked(x, shared={"shift": shift, "out": True}, each={"scale": scales}, collect=True)
    y, expected = x, []
    for layer, scale in zip(stacked, scales, strict=True):
        y, own = layer(y, scale=scale, shift=shift, out=True)
        expected.append(own)
    close(out, y)
    close(ys, jnp.stack(expected))


def test_it_is_a_sequence():
    stacked, x = Stacked(Block, 5, unroll=2, key=KEY), jr.normal(KEY, (3,))
    layers = list(stacked)
    assert len(stacked) == len(layers) == 5
    assert tree_equal(stacked.unstack(), layers)
    assert tree_equal(stacked[-1], layers[4])
    assert tree_equal(stacked[np.int32(2)], layers[2])
    close(jax.jit(lambda i: stacked[i](x))(jnp.asarray(2)), layers[2](x))
    for part in (slice(1, 4), slice(None, None, -1), slice(4, 1), slice(-2, None)):
        assert tree_equal(stacked[part].unstack(), layers[part])
        assert (len(stacked[part]), stacked[part].unroll) == (len(layers[part]), 2)
    assert tree_equal(Stacked.from_layers(layers, unroll=2), stacked)
    for wrong in (5, -6):
        with pytest.raises(IndexError, match=f"of 5 layers has no layer {wrong}"):
            stacked[wrong]
    with pytest.raises(TypeError, match="an integer or a slice"):
        stacked["a"]
    empty = Stacked(Block, 0, key=KEY)
    close(empty(x), x)
    assert empty.unstack() == []


def test_layers_that_are_not_equal():
    one, two = Block(KEY), Block(KEY)
    with pytest.raises(ValueError, match=r"activation"):
        Stacked.from_layers([one, tree_at(lambda b: b.activation, two, jnp.sin)])
    with pytest.raises(ValueError, match=r"linear\.weight.*\(3, 3\).*\(3, 2\)"):
        Stacked.from_layers([one, tree_at(lambda b: b.linear.weight, two, jnp.ones((3, 2)))])
    with pytest.raises(ValueError, match="in_features"):
        Stacked.from_layers([Linear(3, 3, key=KEY), Linear(2, 3, key=KEY)])
    with pytest.raises(ValueError, match="at least one layer"):
        Stacked.from_layers([])


def test_layers_whose_output_is_no_input():
    x = jnp.ones(3)
    with pytest.raises(ShapeError, match=r"each Linear must return.*float32\[3\].*float32\[4\]"):
        Stacked(lambda key: Linear(3, 4, key=key), 2, key=KEY)(x)
    with pytest.raises(ShapeError, match=r"At <root> .* float32\[3\] and returned bfloat16\[3\]"):
        Stacked(lambda key: Lowered(), 2, key=KEY)(x)
    # The place in a tree is named, and a number of Python is no array.
    half = Stacked.from_layers([Lambda(lambda x: {"a": x["a"], "b": x["b"].astype("bfloat16")})])
    with pytest.raises(ShapeError, match=r"At \['b'\] it was given float32\[3\] and returned bf"):
        half({"a": x, "b": x})
    with pytest.raises(ShapeError, match=r"given float32\[3\] and returned a float"):
        Stacked.from_layers([Lambda(lambda x: 1.0)])(x)
    stacked = Stacked(Block, 3, key=KEY)
    with pytest.raises(ValueError, match=r"each\['scale'\].*size 3.*\(2,\).*shared"):
        stacked(x, each={"scale": jnp.ones(2)})
    with pytest.raises(TypeError, match="must return a pair"):
        stacked(x, collect=True)
    with pytest.raises(TypeError, match="pass `key=`"):
        Stacked(Block, 2, key=None)
    with pytest.raises(ValueError, match="`n` must be at least 0"):
        Stacked(Block, -1, key=KEY)


class Lowered(Module):
    def __call__(self, x):
        return x.astype(jnp.bfloat16)


class Normed(StatefulLayer):
    linear: Linear
    norm: BatchNorm

    def __init__(self, key):
        self.linear = Linear(3, 3, key=key)
        self.norm = BatchNorm(3, "batch", mode="batch")

    def __call__(self, x, state, *, key=None):
        y, state = self.norm(self.linear(x), state)
        return x + y, state


def batched(model):
    return jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))


def test_state_of_batch_norm():
    def make(key):
        return Sequential([Stacked(Normed, 3, key=key), Linear(3, 2, key=key)])

    model, state = make_with_state(make)(KEY)
    loop, loop_state = make_with_state(lambda: [Normed(key) for key in jr.split(KEY, 3)])()
    x = jr.normal(KEY, (6, 3))
    stacked = model[0]
    for _ in range(2):
        y, state = batched(model)(x, state)
        z = x
        for layer in loop:
            z, loop_state = batched(layer)(z, loop_state)
        close(y, jax.vmap(model[1])(z))
    for i, layer in enumerate(loop):
        own = jax.tree.map(lambda a, i=i: a[i], state.substate(stacked))
        close(
            own.get(stacked[i].norm.batch_state_index), loop_state.get(layer.norm.batch_state_index)
        )
        assert own.get(stacked[i].norm.batch_counter) == 2
    evaluated = inference_mode(model)
    y, same = evaluated(x[0], state)
    close(y, model[1](loop_in_inference(loop, x[0], loop_state)))
    assert same is state  # which is not spent, and can be used again
    with pytest.raises(ValueError, match="called without a `state`"):
        stacked(x[0])


def loop_in_inference(loop, x, state):
    for layer in inference_mode(loop):
        x, state = layer(x, state)
    return x


def test_layers_with_a_state_are_stacked():
    stacked, state = make_with_state(
        lambda: Stacked.from_layers([Normed(key) for key in jr.split(KEY, 3)])
    )()
    other, _ = make_with_state(lambda: Stacked(Normed, 3, key=KEY))()
    assert tree_equal(stacked, other)
    _, state = batched(stacked)(jr.normal(KEY, (4, 3)), state)
    assert state.get(stacked.layers.norm.batch_counter).tolist() == [1, 1, 1]


def test_a_state_that_is_no_state():
    class Count(StatefulLayer):
        weight: jax.Array

        def __call__(self, x, state, *, key=None):
            return x + self.weight, state + 1

    stacked = Stacked(lambda key: Count(jnp.ones(())), 4, key=KEY)
    y, count = stacked(jnp.zeros(()), jnp.asarray(10))
    assert (y, count) == (4, 14)


def test_a_state_passes_by_layers_without():
    stacked, state = Stacked(Block, 2, key=KEY), State(())
    y, same = stacked(jnp.ones(3), state)
    assert same is state and jnp.array_equal(y, stacked(jnp.ones(3)))


# https://github.com/patrick-kidger/equinox/issues/673
def test_layers_are_made_one_by_one_in_their_dtype():
    make = lambda key: Linear(50, 50, dtype=jnp.bfloat16, key=key)  # noqa: E731
    program = jax.jit(lambda key: Stacked(make, 40, key=key).layers.weight).lower(KEY).compile()
    memory = program.memory_analysis()
    assert memory.output_size_in_bytes == 40 * 50 * 50 * 2
    # Not all in float32, nor the random bits of all:
    assert memory.temp_size_in_bytes < 1.5 * memory.output_size_in_bytes


def test_calls_outside_of_jit_trace_once():
    traces = []

    class Noting(Module):
        weight: jax.Array

        def __call__(self, x):
            traces.append(1)
            return x * self.weight

    stacked = Stacked(lambda key: Noting(jr.normal(key, (3,))), 4, key=KEY)
    other = Stacked(lambda key: Noting(jr.normal(key, (3,))), 4, key=jr.PRNGKey(0))
    for layers in (stacked, other, stacked):
        layers(jnp.ones(3))
    assert len(traces) == 1


def test_ensembles_of_stacks():
    make = lambda key: Stacked(Block, 3, key=key)  # noqa: E731
    keys, x = jr.split(KEY, 2), jr.normal(KEY, (3,))
    ensemble = filter_vmap(make)(keys)
    assert ensemble.layers.linear.weight.shape == (2, 3, 3, 3)
    ys = filter_vmap(lambda s, x: s(x), in_axes=(if_array(0), None))(ensemble, x)
    close(ys, jnp.stack([make(key)(x) for key in keys]))


def test_stacks_of_stacks_and_files():
    make = lambda key: Stacked(Block, 2, key=key)  # noqa: E731
    tower, x = Stacked(make, 3, key=KEY), jr.normal(KEY, (3,))
    y = x
    for key in jr.split(KEY, 3):
        for own in jr.split(key, 2):
            y = Block(own)(y)
    close(filter_jit(lambda t, x: t(x))(tower, x), y)
    file = io.BytesIO()
    tree_serialise_leaves(file, tower)
    file.seek(0)
    assert tree_equal(tree_deserialise_leaves(file, Stacked(make, 3, key=jr.PRNGKey(0))), tower)


def test_a_counter_in_each_layer():
    class Counter(StatefulLayer):
        index: StateIndex

        def __init__(self, key):
            self.index = StateIndex(jnp.array(0))

        def __call__(self, x, state, *, key=None):
            count = state.get(self.index)
            return x + count, state.set(self.index, count + 1)

    stacked, state = make_with_state(lambda: Stacked(Counter, 3, key=KEY))()
    x = jnp.asarray(0)
    for expected in (0, 3, 9):
        x, state = stacked(x, state)
        assert x == expected
    assert state.get(stacked.layers.index).tolist() == [3, 3, 3]


def test_arguments_that_cannot_be_meant_are_refused():
    stacked = Stacked(lambda key: Linear(2, 2, key=key), 3, key=KEY)
    with pytest.raises(TypeError, match='`remat` is "elementwise", a boolean or a policy'):
        Stacked.from_layers(stacked.unstack(), remat="everything")
    with pytest.raises(ValueError, match="the argument `scale` is in `each` and in `shared`"):
        stacked(jnp.ones(2), shared={"scale": 1.0}, each={"scale": jnp.ones(3)})
    with pytest.raises(IndexError, match="of 3 layers has no layer 3"):
        stacked[np.int64(3)]
    np.testing.assert_array_equal(stacked[np.int64(2)].weight, stacked[2].weight)


def loops(fun, *args):
    return filter_jit(fun).lower(*args).as_text().count("stablehlo.while")


def test_unrolled_is_another_program_whatever_was_called_before():
    # To Python `True` is 1; and a slice of what is unrolled is unrolled.
    x = jnp.ones(3)
    made = {
        unroll: Stacked(lambda key: Linear(3, 3, key=key), 4, unroll=unroll, key=KEY)
        for unroll in (2, True)
    }
    made["1"] = Stacked(lambda key: Linear(3, 3, key=key), 4, key=KEY)
    call = lambda stacked, x: stacked(x)  # noqa: E731
    for _ in range(2):
        assert loops(call, made["1"], x) == 1 and loops(call, made[2], x) == 1
        assert loops(call, made[True], x) == 0 and loops(call, made[True][1:], x) == 0
    np.testing.assert_allclose(made[True](x), made["1"](x), rtol=1e-6)
    assert (
        made[True][1:].unroll is True and Stacked.from_layers([Linear(3, 3, key=KEY)]).unroll == 1
    )
    assert len(made[True][4:]) == 0 and (made[True][4:](x) == x).all()
