"""`State`: values by index, handed on by value."""

import copy
import io
import pickle

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_jit, filter_vmap, if_array
from nn_layers import (
    BatchNorm,
    Linear,
    Sequential,
    State,
    StatefulLayer,
    StateIndex,
    delete_init_state,
    make_with_state,
)
from pytree_module import Module
from tree_surgery import tree_deserialise_leaves, tree_equal, tree_serialise_leaves

KEY = jr.PRNGKey(1)


class Counter(StatefulLayer):
    index: StateIndex

    def __init__(self):
        self.index = StateIndex(jnp.array(0))

    def __call__(self, x, state, *, key=None):
        count = state.get(self.index)
        return x + count, state.set(self.index, count + 1)


class Pair(Module):
    a: StateIndex
    b: StateIndex

    def __init__(self):
        self.a = StateIndex(1.0)
        self.b = StateIndex({"x": np.ones(2), "none": None})


def test_get_set_and_names():
    model, state = make_with_state(Pair)()
    assert (model.a.marker, model.b.marker) == ("Pair.a", "Pair.b")
    assert jax.tree.leaves(model) == []
    new = state.set(model.a, 4.0)
    assert new.get(model.a) == 4
    np.testing.assert_array_equal(new.get(model.b)["x"], np.ones(2))
    assert str(new) == "State(Pair.a=weak_f32[], Pair.b={'none': None, 'x': f32[2]})"
    _, nested = make_with_state(lambda: [Counter(), {"k": Counter()}])()
    assert (
        str(nested).replace("weak_", "") == "State(list[0].index=i32[], list[1]['k'].index=i32[])"
    )


def test_a_spent_state_says_so():
    model, state = make_with_state(Pair)()
    kept = copy.copy(jax.tree.map(lambda x: x, state))
    state.set(model.a, 2.0)
    assert repr(state) == "State(~old~)"
    for use in (
        lambda: state.get(model.a),
        lambda: state.set(model.a, 3.0),
        lambda: state.substate(model),
        lambda: state.update(kept),
        lambda: kept.update(state),
        lambda: jax.tree.leaves(state),
    ):
        with pytest.raises(ValueError, match="Attempted to use old state"):
            use()
    assert kept.get(model.a) == 1


@pytest.mark.parametrize("value", [1, jnp.ones(2), (1.0,), None, jnp.ones((), jnp.bfloat16)])
def test_a_value_of_another_kind(value):
    model, state = make_with_state(Pair)()
    with pytest.raises(
        ValueError, match=r"at Pair\.a, at <root> .* is float32\[\] and the new one is"
    ):
        state.set(model.a, value)
    assert state.get(model.a) == 1  # not spent


def test_substate_and_update():
    model, state = make_with_state(lambda: [Counter(), Counter()])()
    part = state.substate(model[1])
    assert len(jax.tree.leaves(part)) == 1
    with pytest.raises(KeyError, match=r"no value for the index list\[0\].index"):
        part.get(model[0].index)
    _, part = model[1](1, part)
    state = state.update(part)
    assert [int(state.get(m.index)) for m in model] == [0, 1]
    _, others = make_with_state(Pair)()
    with pytest.raises(ValueError, match="unless `state2` is a substate"):
        state.update(others)
    for wrong in (lambda: state.update(3), lambda: state.get(3), lambda: state.set("a", 3)):
        with pytest.raises(ValueError, match="a `State"):
            wrong()


def test_initial_values_move_into_the_state():
    layer = Counter()
    state = State(layer)  # without names
    assert state.get(layer.index) == 0
    bare = delete_init_state(layer)
    assert jax.tree.leaves(bare) == []
    assert state.get(bare.index) == 0
    with pytest.raises(ValueError, match="Call `model, state = make_with_state"):
        State(bare)
    assert repr(state).endswith("i32[])")
    assert copy.deepcopy(make_with_state(Pair)()[1]).get(make_with_state(Pair)()[0].a) == 1


def test_scan_and_jit_with_one_trace():
    model, state = make_with_state(Counter)()
    traces = []

    @filter_jit
    def run(model, state, xs):
        traces.append(1)

        def step(state, x):
            y, state = model(x, state)
            return state, y

        return jax.lax.scan(step, state, xs)

    for _ in range(2):
        model, state = make_with_state(Counter)()
        state, ys = run(model, state, jnp.zeros(4, "i4"))
        np.testing.assert_array_equal(ys, [0, 1, 2, 3])
        assert state.get(model.index) == 4
    assert len(traces) == 1


def make(key):
    norm = BatchNorm(2, "batch", mode="batch")
    return Sequential([Linear(3, 2, key=key), norm, Counter()])


# https://github.com/patrick-kidger/equinox/issues/450
def test_an_ensemble():
    keys, x = jr.split(KEY, 3), jr.normal(KEY, (5, 3))

    def call(model, state, x):
        return jax.vmap(model, (0, None), (0, None), axis_name="batch")(x, state)

    models, states = filter_vmap(make_with_state(make))(keys)
    y, states = filter_vmap(call, in_axes=(if_array(0), 0, None))(models, states, x)
    for i in range(3):
        one_y, one_state = call(*make_with_state(make)(keys[i]), x)
        np.testing.assert_allclose(y[i], one_y, rtol=1e-4, atol=1e-5)
        for all_of, own in zip(jax.tree.leaves(states), jax.tree.leaves(one_state), strict=True):
            np.testing.assert_allclose(all_of[i], own, rtol=1e-4, atol=1e-5)


# https://github.com/patrick-kidger/equinox/issues/166
def test_saving_before_and_after_use():
    model, state = make_with_state(make)(KEY)
    call = jax.vmap(model, (0, None), (0, None), axis_name="batch")
    for _ in range(2):
        file = io.BytesIO()
        tree_serialise_leaves(file, (model, state))
        file.seek(0)
        like = make_with_state(make)(jr.PRNGKey(2))
        loaded_model, loaded = tree_deserialise_leaves(file, like)
        assert tree_equal(loaded_model, model)
        assert tree_equal(loaded, state)
        assert tree_equal(pickle.loads(pickle.dumps(state)), state)
        state = call(jr.normal(KEY, (5, 3)), state)[1]
    assert state.get(model[1].batch_counter) == 2


# https://github.com/patrick-kidger/equinox/issues/965
def test_equal_once_they_are_named():
    """Two that are made directly may stand in one model, where they must not share their values."""
    make = lambda: BatchNorm(3, "batch", mode="batch")  # noqa: E731
    assert make() != make() and len(jax.tree.leaves(State((make(), make())))) == 6
    assert tree_equal(make_with_state(make)(), make_with_state(make)())
