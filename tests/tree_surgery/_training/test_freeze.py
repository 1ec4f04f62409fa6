"""Masks, labels and frozen leaves: that gradients, jit and optax's optimisers agree on them."""

import dataclasses as dc
import io
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tree_surgery as ts
from tree_surgery import (
    Frozen,
    Labels,
    WhereError,
    freeze,
    trainable,
    tree_equal,
    tree_labels,
    tree_mask,
    tree_paths,
    unfreeze,
    where,
)


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any
    name: str = dc.field(default="linear", metadata={"static": True})

    def __call__(self, x):
        return self.weight @ x + self.bias


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Model:
    """A model that can be called, as `optax` must not."""

    encoder: Linear
    head: Linear

    def __call__(self, x):
        return self.head(jax.nn.tanh(self.encoder(x)))


def linear(key, m, n):
    return Linear(jax.random.normal(key, (m, n)), jnp.ones(m))


@pytest.fixture
def model():
    one, two = jax.random.split(jax.random.key(0))
    return Model(linear(one, 4, 3), linear(two, 2, 4))


@pytest.fixture
def as_optax_needs():
    """Its `adamw` raises a float to the power of an integer array."""
    with jax.numpy_dtype_promotion("standard"):
        yield


X = jnp.arange(3.0)


def loss(model, x):
    return jnp.sum(unfreeze(model)(x) ** 2)


# --- masks and labels ------------------------------------------------------------------------


def test_mask(model):
    mask = tree_mask(model, "**.weight")
    assert mask == Model(Linear(True, False), Linear(True, False))
    assert tree_mask(model, where.path("encoder") & "**.bias").encoder == Linear(False, True)
    assert tree_mask([1, None, ()], int) == [True, None, ()]
    assert all(type(x) is bool for x in jax.tree.leaves(tree_mask(model, "head")))
    assert tree_mask(model, "**.name") == Model(Linear(False, False), Linear(False, False))
    with pytest.raises(WhereError, match="matches nothing"):
        tree_mask(model, "**.kernel")


@given(st.lists(st.sampled_from(["a", "b.**", "b[0]", "**.c", "b[1]"]), min_size=1))
def test_mask_is_what_is_selected(patterns):
    tree = {"a": 1, "b": [2, {"c": 3, "d": 4}]}
    selected = jax.tree.leaves(list(ts.tree_select(tree, patterns).values()))
    marks = zip(jax.tree.leaves(tree), jax.tree.leaves(tree_mask(tree, patterns)), strict=True)
    assert [x for x, mark in marks if mark] == selected


def test_labels(model):
    plain = {"model": model}
    labels = tree_labels(plain, {"slow": "model.encoder.weight", "fast": "**.weight"}, "none")
    assert labels == {"model": Model(Linear("slow", "none"), Linear("fast", "none"))}
    with pytest.raises(
        WhereError, match=r"no label for `\['model'\].encoder.bias`, `\['model'\].head"
    ):
        tree_labels(plain, {"fast": "**.weight"})
    with pytest.raises(WhereError, match="matches nothing"):
        tree_labels(plain, {"fast": "**.kernel"}, "none")
    assert tree_labels([], {}) == []


def test_labels_of_a_tree_that_can_be_called(model):
    labels = tree_labels(model, {"fast": "head"}, default="slow")
    assert isinstance(labels, Labels)
    assert labels.tree == Model(Linear("slow", "slow"), Linear("fast", "fast"))
    assert labels(model) is labels.tree
    assert jax.tree.leaves(labels) == ["slow", "slow", "fast", "fast"]
    assert jax.tree.map(len, labels).tree.head == Linear(4, 4)
    assert "fast" in repr(labels)


def test_multi_transform(model):
    labels = tree_labels(model, {"fast": "head", "slow": "**.weight"}, default="not")
    rates = {"fast": optax.sgd(1.0), "slow": optax.sgd(0.25), "not": optax.set_to_zero()}
    optimiser = optax.multi_transform(rates, labels)
    ones = jax.tree.map(jnp.ones_like, model)
    updates, _ = optimiser.update(ones, optimiser.init(model), model)
    found = jax.tree.map(lambda x: x.ravel()[0].item(), updates)
    assert found == Model(Linear(-0.25, 0.0), Linear(-1.0, -1.0))


def test_mask_of_weight_decay(model, as_optax_needs):
    """`optax.adamw(mask=...)`: with no gradient at all, decay is what is left."""
    optimiser = optax.adamw(0.5, weight_decay=0.1, mask=tree_mask(model, "**.weight"))
    zeros = jax.tree.map(jnp.zeros_like, model)
    updates, _ = optimiser.update(zeros, optimiser.init(model), model)
    np.testing.assert_allclose(updates.head.weight, -0.05 * model.head.weight, rtol=1e-6)
    assert not updates.head.bias.any() and not updates.encoder.bias.any()


# --- frozen leaves ---------------------------------------------------------------------------


def test_freeze_and_unfreeze(model):
    frozen = freeze(model, "encoder")
    assert isinstance(frozen.encoder.weight, Frozen) and frozen.encoder.name == "linear"
    assert frozen.encoder.weight.value is model.encoder.weight
    assert frozen.head.weight is model.head.weight
    assert tree_equal(freeze(frozen, "encoder"), frozen)  # once is enough
    assert tree_equal(freeze(frozen, Linear), freeze(model, Linear))
    again = unfreeze(frozen)
    assert jtu.tree_structure(again) == jtu.tree_structure(model)
    for x, y in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True):
        assert x is y
    part = unfreeze(frozen, "encoder.bias")
    assert tree_paths(part, Frozen) == ["encoder.weight"]
    assert tree_paths(unfreeze(frozen, "encoder")) == tree_paths(model)
    assert tree_equal(unfreeze(model), model)


def test_what_can_be_frozen():
    tree = {
        "array": jnp.ones(1),
        "numpy": np.ones(1),
        "ints": jnp.arange(2),
        "key": jax.random.key(0),
        "struct": jax.ShapeDtypeStruct((2,), jnp.float32),
        "float": 0.5,
        "int": 3,
        "name": "x",
        "fn": jax.nn.relu,
        "none": None,
    }
    frozen = freeze(tree, "")
    assert set(tree_paths(frozen, Frozen)) == {
        f"['{name}']" for name in ("array", "numpy", "ints", "key", "struct", "float")
    }
    assert unfreeze(frozen) == tree
    mask = trainable(tree)
    assert [name for name, is_trained in mask.items() if is_trained] == ["array", "numpy", "struct"]
    assert jax.tree.leaves(trainable(frozen)) == [False] * len(jax.tree.leaves(tree))
    assert jtu.tree_structure(trainable(frozen)) == jtu.tree_structure(frozen)


def test_gradient(model):
    free = jax.grad(loss)(model, X)
    frozen = jax.grad(loss)(freeze(model, "encoder"), X)
    assert all(not x.any() for x in jax.tree.leaves(frozen.encoder))
    assert free.encoder.weight.any()
    assert tree_equal(frozen.head, free.head)
    under_jit = jax.jit(jax.grad(loss))(freeze(model, "encoder"), X)
    assert tree_equal(under_jit, frozen, rtol=1e-6)
    gradients = jax.vmap(jax.grad(loss), (None, 0))(freeze(model, "encoder"), jnp.stack([X, -X]))
    assert gradients.encoder.weight.value.shape == (2, 4, 3)
    assert not gradients.encoder.weight.value.any()


def test_jit_sees_what_is_frozen(model):
    traces = 0

    @jax.jit
    def gradient(model, x):
        nonlocal traces
        traces += 1
        return jax.grad(loss)(model, x)

    first = gradient(freeze(model, "encoder"), X)
    gradient(freeze(model, "encoder.*"), X)  # the same in other words
    assert traces == 1
    second = gradient(freeze(model, "head"), X)
    assert traces == 2
    assert first.head.weight.any() and not second.head.weight.value.any()


def steps(optimiser, model, count=5):
    @jax.jit
    def step(model, state):
        updates, state = optimiser.update(jax.grad(loss)(model, X), state, model)
        return optax.apply_updates(model, updates), state

    state = optimiser.init(model)
    for _ in range(count):
        model, state = step(model, state)
    return model


# https://github.com/patrick-kidger/equinox/issues/908
def test_weight_decay_leaves_what_is_frozen_untouched(model, as_optax_needs):
    adamw = optax.adamw(1e-2, weight_decay=0.1)
    frozen = freeze(model, "encoder")
    new = steps(optax.masked(adamw, trainable(frozen)), frozen)
    assert tree_equal(new.encoder, frozen.encoder)
    # the head is trained as if it were all there is
    head = model.head
    for_head = adamw.init(head)
    for _ in range(5):
        gradient = jax.grad(lambda head: loss(Model(model.encoder, head), X))(head)
        updates, for_head = adamw.update(gradient, for_head, head)
        head = optax.apply_updates(head, updates)
    assert tree_equal(new.head, head, rtol=1e-5, atol=1e-6)
    # and the mask is what keeps the decay away
    assert not tree_equal(steps(adamw, frozen).encoder, frozen.encoder)


def test_multi_transform_of_frozen_leaves(model, as_optax_needs):
    frozen = freeze(model, "encoder.weight")
    labels = tree_labels(frozen, {"frozen": Frozen}, default="trained")
    by_label = {"frozen": optax.set_to_zero(), "trained": optax.adamw(1e-2, weight_decay=0.1)}
    new = steps(optax.multi_transform(by_label, labels), frozen)
    assert tree_equal(new.encoder.weight, frozen.encoder.weight)
    masked = steps(optax.masked(optax.adamw(1e-2, weight_decay=0.1), trainable(frozen)), frozen)
    assert tree_equal(new, masked, rtol=1e-5, atol=1e-6)


def test_saving_does_not_see_it(model):
    files = [io.BytesIO(), io.BytesIO()]
    for file, tree in zip(files, (model, freeze(model, "encoder")), strict=True):
        ts.tree_serialise_leaves(file, tree)
    assert files[0].getvalue() == files[1].getvalue()


USES = [
    lambda w: w * 2,
    lambda w: 2 * w,
    lambda w: -w,
    lambda w: w[0],
    lambda w: w**2,
    lambda w: w @ jnp.ones(3),
    lambda w: jnp.ones(3) + w,
    lambda w: ts.tree_apply({"w": w}, "w", lambda w: w / 2),
]


def test_forgotten(model):
    frozen = freeze(model, "encoder")
    with pytest.raises(TypeError, match="unfreeze"):
        frozen(X)
    with pytest.raises(AttributeError, match="`Frozen` has no `shape`.*unfreeze"):
        frozen.encoder.weight.shape  # noqa: B018  # the error is what is tested
    with pytest.raises(TypeError, match="unfreeze"):
        jnp.sin(frozen.encoder.weight)
    for use in USES:
        with pytest.raises(TypeError, match="unfreeze"):
            use(frozen.encoder.weight)
    assert np.asarray(frozen.encoder.weight).shape == ()  # of an object
