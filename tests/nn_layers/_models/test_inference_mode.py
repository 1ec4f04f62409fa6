"""`inference_mode` sets the flag of every node that has one, at any depth."""

import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

from nn_layers import (
    Dropout,
    Linear,
    Sequential,
    inference_mode,
    tree_inference,
)
from pytree_module import Module

KEY = jr.PRNGKey(8)


class Flagged(Module):
    inference: object
    inner: object


def flags(tree) -> list:
    return [
        leaf.inference
        for leaf in jax.tree_util.tree_leaves(tree, is_leaf=lambda x: hasattr(x, "inference"))
        if hasattr(leaf, "inference")
    ]


@pytest.mark.parametrize("value", [True, False])
def test_inference_mode_reaches_everything(value):
    shared = Dropout(0.3)
    tree = {"a": [Dropout(), Sequential([Dropout(0.2, inference=True)])], "b": (shared, shared)}
    changed = inference_mode(tree, value)
    assert flags(changed) == [value] * 4
    assert flags(tree) == [False, True, False, False]
    assert changed["a"][1].layers[0].p == 0.2
    nested = inference_mode(Flagged(not value, Flagged(not value, Dropout())), value)
    assert (nested.inference, nested.inner.inference, nested.inner.inner.inference) == (value,) * 3


def test_inference_mode_of_unusual_trees():
    assert inference_mode(None) is None
    linear = Linear(2, 2, key=KEY)
    assert inference_mode(linear) == linear
    assert inference_mode(Flagged(None, 1)).inference is True
    assert inference_mode(Flagged(Dropout(), 1)) == Flagged(True, 1)
    assert inference_mode(Flagged(jnp.array(False), 1)).inference is True

    class NoNode:
        inference = False

    leaf = NoNode()
    assert inference_mode([leaf, Dropout()])[0] is leaf
    assert leaf.inference is False


def test_the_alias():
    assert tree_inference is inference_mode
