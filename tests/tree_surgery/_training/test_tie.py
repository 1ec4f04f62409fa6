"""`tie`, `untie`, `find_shared`: one set of weights through every transformation."""

import dataclasses as dc
import io
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import optax
import pytest

import tree_surgery as ts
from tree_surgery import (
    Tied,
    WhereError,
    find_shared,
    freeze,
    tie,
    trainable,
    tree_equal,
    tree_paths,
    unfreeze,
    untie,
)


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any
    name: str = dc.field(default="linear", metadata={"static": True})


def model():
    keys = jax.random.split(jax.random.key(0), 4)
    layers = [Linear(jax.random.normal(k, (3, 3)), jnp.ones(3)) for k in keys]
    return {"layers": layers, "embed": jnp.ones((5, 3)), "head": jnp.zeros((5, 3))}


# https://github.com/patrick-kidger/equinox/issues/790
SEVERAL = [("head", "embed"), ("layers[1:]", "layers[0]")]


def apply(model, x):
    """With every layer in use: what is tied gets gradients from several places."""
    for layer in model["layers"]:
        x = jnp.tanh(layer.weight @ x + layer.bias)
    return jnp.sum((model["embed"] + 2 * model["head"]) @ x)


def by_hand(shared, x):
    layers = [shared["layer"]] * 4
    return apply({"layers": layers, "embed": shared["embed"], "head": shared["embed"]}, x)


X = jnp.arange(3.0)


def test_tie():
    old = model()
    tied = tie(old, SEVERAL)
    assert tied["layers"][1:] == [Tied("['layers'][0]")] * 3 and tied["head"] == Tied("['embed']")
    assert tree_paths(tied) == ["['embed']", "['layers'][0].weight", "['layers'][0].bias"]
    used = untie(tied)
    assert used["head"] is old["embed"]
    assert all(layer.weight is old["layers"][0].weight for layer in used["layers"])
    ts.tree_check(used)  # the containers are not shared, only the leaves
    assert tree_equal(untie(old), old) and tree_equal(tie(old, []), old)


def test_several_selectors_of_one_source():
    old = model()
    tied = tie(old, [("layers[1:3]", "layers[0]"), ("layers[3].weight", "layers[0].weight")])
    assert tree_paths(tied, Tied) == [f"['layers']{x}" for x in ("[1]", "[2]", "[3].weight")]
    assert untie(tied)["layers"][3].weight is old["layers"][0].weight
    assert untie(tied)["layers"][3].bias is old["layers"][3].bias


def test_gradients_add_up():
    old = model()
    tied = tie(old, SEVERAL)
    shared = {"layer": old["layers"][0], "embed": old["embed"]}
    expected = jax.grad(by_hand)(shared, X)
    for transform in (lambda f: f, jax.jit):
        found = transform(jax.grad(lambda m, x: apply(untie(m), x)))(tied, X)
        assert tree_equal(found["layers"][0], expected["layer"], rtol=1e-5, atol=1e-6)
        assert tree_equal(found["embed"], expected["embed"], rtol=1e-5, atol=1e-6)
        assert len(jax.tree.leaves(found)) == 3


def test_scan_and_optimiser_keep_it():
    old = model()
    optimiser = optax.sgd(0.01, momentum=0.5)
    tied, shared = tie(old, SEVERAL), {"layer": old["layers"][0], "embed": old["embed"]}

    def train(loss, params):
        def step(carry, _):
            params, state = carry
            updates, state = optimiser.update(jax.grad(loss)(params, X), state)
            return (optax.apply_updates(params, updates), state), None

        carry = params, optimiser.init(params)
        return jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=5)[0][0])(carry)

    found = train(lambda m, x: apply(untie(m), x), tied)
    expected = train(by_hand, shared)
    assert jtu.tree_structure(found) == jtu.tree_structure(tied)
    used = untie(found)
    assert used["head"] is used["embed"]
    assert tree_equal(used["layers"][3], expected["layer"], rtol=1e-5, atol=1e-6)
    assert tree_equal(used["head"], expected["embed"], rtol=1e-5, atol=1e-6)
    assert not tree_equal(used["embed"], old["embed"])


def test_saving_keeps_it():
    tied = tie(model(), SEVERAL)
    file = io.BytesIO()
    ts.tree_serialise_leaves(file, tied)
    file.seek(0)
    loaded = ts.tree_deserialise_leaves(file, jax.tree.map(jnp.zeros_like, tied))
    assert tree_equal(loaded, tied)
    assert untie(loaded)["head"] is loaded["embed"]


def test_vmap_over_ensembles_and_frozen_sources():
    tied = ts.tree_stack([tie(model(), SEVERAL)] * 2)
    found = jax.vmap(lambda m: apply(untie(m), X))(tied)
    expected = apply(untie(tie(model(), SEVERAL)), X)
    np.testing.assert_allclose(found, [expected] * 2, rtol=1e-5)
    frozen = freeze(tie(model(), SEVERAL), "embed")
    for resolve in (lambda m: untie(unfreeze(m)), lambda m: unfreeze(untie(m))):
        gradient = jax.grad(lambda m, f=resolve: apply(f(m), X))(frozen)
        assert not gradient["embed"].value.any() and gradient["layers"][0].weight.any()
    assert jax.tree.leaves(trainable(frozen)) == [False, True, True]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (
            [("head", "layers[0].bias")],
            "not of the same structure, shapes and dtypes as `f32\\[3\\]`",
        ),
        ([("head", "layers[0]")], "not of the same structure"),
        ([("head", "layers.*.weight")], "selects 4"),
        ([("head", "embde")], "`embde` matches nothing"),
        ([("hed", "embed")], "`hed` matches nothing"),
        ([("embed", "embed")], "within the other"),
        ([("head", "embed"), ("embed", "head")], "within the other"),
        ([("head", "embed"), ("head", "embed")], "twice"),
        ([("layers[1]", "layers[0]"), ("layers[2].bias", "layers[1].bias")], "within the other"),
        ([("layers[1]", "layers[0]"), ("layers[1].bias", "layers[2].bias")], "within the other"),
    ],
)
def test_what_cannot_be_tied(pairs, said):
    with pytest.raises(WhereError, match=said):
        tie(model(), pairs)


@pytest.mark.parametrize("pairs", [("ab", "cd"), ["ab"], [("ab",)], [("ab", "cd", "ab")], [3]])
def test_what_is_no_pair(pairs):
    with pytest.raises(ts.WhereError, match=r"pairs `\(dst, src\)`, in which .* is none"):
        tie({"a": 1.0, "b": 1.0, "ab": 1.0, "cd": 2.0}, pairs)


def test_a_part_cannot_be_untied():
    tied = tie({"decoder": model(), "embed": jnp.ones((5, 3))}, [("decoder.head", "embed")])
    with pytest.raises(WhereError, match=r"tied to `\['embed'\]`, which is not in it"):
        untie({"decoder": tied["decoder"]})


def test_forgotten():
    tied = tie(model(), SEVERAL)
    with pytest.raises(TypeError, match=r"tied to `\['embed'\]`.*untie"):
        jnp.sin(tied["head"])
    for use in [lambda w: w * 2, lambda w: 1 - w, lambda w: w[0], lambda w: w @ jnp.ones(3)]:
        with pytest.raises(TypeError, match=r"tied to `\['embed'\]`.*untie"):
            use(tied["head"])
    with pytest.raises(AttributeError, match="`Tied` has no `weight`.*untie"):
        apply(tied, X)


def test_find_shared():
    one, two = jnp.ones(3), np.ones(3)
    tree = {"a": one, "b": [two, one, 3, "x"], "c": Linear(two, one), "d": [3, "x", jnp.ones(3)]}
    assert find_shared(tree) == [["['a']", "['b'][1]", "['c'].bias"], ["['b'][0]", "['c'].weight"]]
    assert find_shared(model()) == []
    assert find_shared(untie(tie(model(), [("head", "embed")]))) == [["['embed']", "['head']"]]
