"""Generic layers: what stands in brackets is for readers and checkers, and no part of the tree."""

import copy
import pickle
from collections.abc import Callable
from typing import Any, Generic, get_args, get_origin

import jax
import jax.numpy as jnp
import pytest

from nn_layers import (
    RNN,
    Bidirectional,
    Embedding,
    GRUCell,
    Lambda,
    Linear,
    LSTMCell,
    Sequential,
    Shared,
    SpectralNorm,
    Stacked,
    StateIndex,
    WeightNorm,
)
from pytree_module import Module
from tree_surgery import tree_equal

KEY = jax.random.key(0)
LINEAR = Linear(3, 3, key=KEY)
GRU, LSTM = GRUCell(3, 2, key=KEY), LSTMCell(3, 2, key=KEY)


def make(key: jax.Array) -> Linear:
    return Linear(3, 3, key=key)


def weight(pair: Any) -> jax.Array:
    return pair[0].weight


def other(pair: Any) -> jax.Array:
    return pair[1].weight


# The alias, and how an instance is made of it.
GENERIC: list[tuple[Any, Callable[[Any], Any]]] = [
    (Stacked[Linear], lambda cls: cls(make, 2, key=KEY)),
    (Sequential[Linear], lambda cls: cls((LINEAR,))),
    (RNN[GRUCell], lambda cls: cls(GRU)),
    (Bidirectional[GRUCell, LSTMCell], lambda cls: cls(GRU, LSTM)),
    (Shared[tuple[Linear, Linear]], lambda cls: cls((LINEAR, LINEAR), weight, other)),
    (WeightNorm[Linear], lambda cls: cls(LINEAR)),
    (SpectralNorm[Linear], lambda cls: cls(LINEAR, "weight", key=KEY)),
    (Lambda[jax.Array], lambda cls: cls(jnp.tanh)),
    (StateIndex[jax.Array], lambda cls: cls(jnp.ones(2))),
]
of_each = pytest.mark.parametrize(
    ("alias", "made"), GENERIC, ids=[get_origin(alias).__name__ for alias, _ in GENERIC]
)


@of_each
def test_generic_classes_are_subscripted_and_are_bases(alias: Any, made: Callable[[Any], Any]):
    origin = get_origin(alias)
    assert issubclass(origin, Generic) and len(get_args(alias)) == len(origin.__parameters__)

    class Child(alias):
        pass

    assert isinstance(made(Child), origin)


@of_each
def test_an_alias_makes_what_the_class_makes(alias: Any, made: Callable[[Any], Any]):
    plain, by_alias = made(get_origin(alias)), made(alias)
    assert jax.tree.structure(plain, is_leaf=is_index) == jax.tree.structure(
        by_alias, is_leaf=is_index
    )
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(by_alias), strict=True):
        assert tree_equal(a, b)


@of_each
def test_without_brackets_an_instance_has_nothing_but_its_fields(
    alias: Any, made: Callable[[Any], Any]
):
    plain = made(get_origin(alias))
    assert set(vars(plain)) == set(plain.__dataclass_fields__)


def test_a_sequential_has_as_many_layers_in_brackets_as_it_has():
    made = Sequential[Linear, Lambda, Linear]((LINEAR, Lambda(jnp.tanh), LINEAR))
    x = jnp.arange(3.0)
    assert jnp.array_equal(made(x), LINEAR(jnp.tanh(LINEAR(x))))
    assert jnp.array_equal(made[1:](x), LINEAR(jnp.tanh(x)))


def is_index(x: Any) -> bool:
    return isinstance(x, StateIndex)  # two that have no name yet are never equal


class Model(Module):
    stacked: Stacked[Linear]
    recurrent: RNN[LSTMCell]
    shared: Shared[tuple[Embedding, Linear]]


def test_annotated_fields_are_those_of_the_class():
    model = Model(
        Stacked(make, 2, key=KEY),
        RNN(LSTM),
        Shared((Embedding(3, 3, key=KEY), LINEAR), where=other, get=weight),
    )
    for copied in (copy.copy(model), pickle.loads(pickle.dumps(model))):
        assert tree_equal(copied, model)
    x = jnp.arange(3.0)
    assert jnp.allclose(model.stacked[1](model.stacked[0](x)), model.stacked(x), atol=1e-6)
    assert jnp.array_equal(model.shared()[1].weight, model.shared()[0].weight)
