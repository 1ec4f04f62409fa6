"""Rules of sharding: which array gets which spec, with and without devices; and the errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AbstractMesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tree_surgery import (
    ShardingError,
    WhereError,
    data_parallel,
    fsdp,
    tree_flatten_one_level,
    tree_shardings,
    where,
)

MESH = AbstractMesh((4, 2), ("data", "model"))


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def block():
    return {"w": shape(8, 12), "b": shape(12), "act": jnp.tanh, "none": None}


MODEL = {"layers": [block(), block()], "head": shape(12, 16), "count": shape()}


def specs(tree):
    return jax.tree.map(lambda s: s.spec, tree)


def test_the_first_rule_that_selects_an_array_decides():
    rules = [
        ("layers[0].w", P("model")),
        ("layers", P(None)),
        ("**.w", P("data")),
        ("head", P("data", "model")),
    ]
    found = specs(tree_shardings(MODEL, rules, MESH))
    assert found["layers"][0]["w"] == P("model") and found["layers"][1]["w"] == P(None)
    assert found["head"] == P("data", "model") and found["count"] == P()


def test_what_is_no_array_has_none_and_the_structure_is_kept():
    shardings = tree_shardings(MODEL, data_parallel(), MESH)
    assert shardings["layers"][0]["act"] is None and shardings["layers"][0]["none"] is None
    leaf = {"is_leaf": lambda x: x is None}
    assert jax.tree.structure(shardings, **leaf) == jax.tree.structure(MODEL, **leaf)
    assert tree_flatten_one_level(shardings)[1] == tree_flatten_one_level(MODEL)[1]


def test_a_function_of_path_array_and_mesh():
    seen = []

    def spec(path, leaf, mesh):
        seen.append((path, leaf.shape, mesh))
        return P(*[None] * (leaf.ndim - 1), "data")

    found = tree_shardings(MODEL, [("layers.*.b", spec)], MESH)
    assert found["layers"][1]["b"].spec == P("data")
    assert seen == [(f"['layers'][{i}]['b']", (12,), MESH) for i in range(2)]


ARRAY = {"x": shape(6, 8)}
WRONG = {
    "no such axis": (P("modle"), r"no axis 'modle'"),
    "twice": (P("data", "data"), r"the axis 'data' twice"),
    "twice in one entry": (P(("data", "data")), r"the axis 'data' twice"),
    "too many": (P(None, None, "data"), r"names 3 dimensions, and the array has 2"),
    "does not divide": (
        P("data"),
        r"dimension 0, of size 6, does not divide into 4 .*2 elements are missing",
    ),
    "not a spec": ("data", r"must be a `jax.sharding.PartitionSpec`, but it is `'data'`"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_names_path_shape_and_mesh(name):
    spec, problem = WRONG[name]
    with pytest.raises(ShardingError, match=problem) as caught:
        tree_shardings(ARRAY, [("x", spec)], MESH)
    error = caught.value
    assert (error.path, error.shape, error.spec, error.mesh) == ("['x']", (6, 8), spec, MESH)
    assert "['x']" in str(error) and "(6, 8)" in str(error) and "data=4, model=2" in str(error)


def test_a_rule_that_selects_nothing_is_a_mistake_unless_it_may():
    with pytest.raises(WhereError, match="layer"):
        tree_shardings(MODEL, [("layer.*.w", P())], MESH)
    with pytest.raises(WhereError):  # also where a rule before it selects everything
        tree_shardings(MODEL, [*data_parallel(), ("layer.*.w", P())], MESH)
    tree_shardings(MODEL, [(where.path("layer.*.w", optional=True), P("data"))], MESH)


OPTIMISERS = {
    "adamw": optax.adamw(1e-3),
    "chain": optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
    "masked": optax.masked(optax.adam(1e-3), {"w": True, "b": False}),
    "multi_transform": optax.multi_transform(
        {"a": optax.adam(1e-3), "b": optax.sgd(0.1, momentum=0.9)}, {"w": "a", "b": "b"}
    ),
    "multi_steps": optax.MultiSteps(optax.adam(1e-3), 4),
    "if_finite": optax.apply_if_finite(optax.lion(1e-3), 3),
    "injected": optax.inject_hyperparams(optax.adam)(1e-3),
    "ema": optax.chain(optax.ema(0.9), optax.sgd(0.1)),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_moments_follow_their_parameter_and_counts_are_replicated(name):
    """Oracle: `optax.tree.map_params` knows which leaves of a state belong to a parameter."""
    params = {"w": jnp.ones((8, 12)), "b": jnp.ones(12)}
    rules = [("**.w", P("data", "model")), ("**.b", P("model"))]
    optimiser = OPTIMISERS[name]
    state = optimiser.init(params)
    found = tree_shardings(state, rules, MESH, params=params)
    by_size = {96: P("data", "model"), 12: P("model")}
    expected = optax.tree_utils.tree_map_params(
        optimiser,
        lambda leaf: by_size[leaf.size],
        state,
        transform_non_params=lambda leaf: P(),
    )
    is_spec = {"is_leaf": lambda x: isinstance(x, (P, NamedSharding))}
    got = [s.spec for s in jax.tree.leaves(found, **is_spec)]
    assert got == jax.tree.leaves(expected, **is_spec)
    assert P("data", "model") in got


def test_what_has_another_shape_than_its_parameter_is_replicated():
    params = {"w": jnp.ones((256, 128))}
    state = optax.adafactor(1e-3, min_dim_size_to_factor=16).init(params)
    shardings = tree_shardings(state, [("w", P("data"))], MESH, params=params)
    for leaf, sharding in zip(jax.tree.leaves(state), jax.tree.leaves(shardings), strict=True):
        assert sharding.spec == (P("data") if leaf.shape == (256, 128) else P())


def test_parameters_may_have_gaps():
    params = {"w": jnp.ones((8, 12)), "b": None, "f": jnp.tanh}
    state = optax.adam(1e-3).init({**params, "f": None})
    found = tree_shardings(state, [("w", P("data"))], MESH, params=params)
    specs = {s.spec for s in jax.tree.leaves(found[0].mu)}
    assert specs == {P("data")} and found[0].count.spec == P()


@given(
    st.lists(st.integers(0, 6).map(lambda n: 2 * n), max_size=4),
    st.sampled_from([(), ("data",), ("model",)]),
    st.sampled_from([P(), P("model"), P(None, "model")]),
)
def test_fsdp_splits_the_largest_dimension_that_is_whole_and_divides(sizes, axis, given_spec):
    axis = axis or ("data", "model")
    leaf = shape(*sizes)
    legal = len(given_spec) <= len(sizes) and all(
        n % 2 == 0 for n, name in zip(sizes, given_spec, strict=False) if name
    )
    if not legal:
        return
    found = tree_shardings({"x": leaf}, fsdp(axis, min_size=0, over=[("x", given_spec)]), MESH)["x"]
    count = math.prod(MESH.shape[name] for name in axis)
    taken = [*given_spec, *[None] * (len(sizes) - len(given_spec))]
    free = [
        n for n, name in zip(sizes, taken, strict=True) if name is None and n and n % count == 0
    ]
    part = found.shard_shape(leaf.shape)
    before = NamedSharding(MESH, given_spec).shard_shape(leaf.shape)
    if not free or set(axis) & set(given_spec):
        assert part == before
        return
    changed = [(n, m) for n, m in zip(before, part, strict=True) if n != m]
    assert changed == [(max(free), max(free) // count)]


def test_small_arrays_are_replicated_by_fsdp():
    tree = {"small": shape(127, 128), "large": shape(128, 128)}
    found = specs(tree_shardings(tree, fsdp("data"), MESH))
    assert found == {"small": P(), "large": P("data")}
    assert specs(tree_shardings(tree, fsdp("data", min_size=127 * 128), MESH))["small"] == P(
        None, "data"
    )


def test_fsdp_over_an_axis_that_the_mesh_lacks():
    for tree in ({"x": shape()}, {"x": shape(8, 8)}):
        with pytest.raises(ShardingError, match="no axis 'fsdp'"):
            tree_shardings(tree, fsdp("fsdp", min_size=0), MESH)


def test_bytes_on_each_device_fall_as_one_over_their_number():
    """Placed for real on the devices there are; counted by JAX."""
    devices = jax.devices()
    mesh = jax.make_mesh((len(devices),), ("data",), devices=devices)
    tree = {"a": np.ones((8, 64), "f4"), "b": np.ones((3, 32), "f4")}
    shardings = tree_shardings(tree, fsdp("data", min_size=0), mesh)
    placed = jax.device_put(tree, shardings)
    for x, y in zip(jax.tree.leaves(placed), jax.tree.leaves(tree), strict=True):
        assert all(s.data.nbytes * len(devices) == y.nbytes for s in x.addressable_shards)
        np.testing.assert_array_equal(x, y)


def test_rules_can_be_printed():
    text = repr(fsdp("data", min_size=4, over=[("w", P("model"))]))
    assert "('w', FullyShard(('data',), min_size=4, over=" in text and "'model'" in text
