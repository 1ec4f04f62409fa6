"""`tree_size`, against sizes counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from tree_surgery import (
    tree_size,
)


def everything():
    return {
        "f32": jnp.linspace(0, 1, 6).reshape(2, 3),
        "bf16": jnp.ones(4, jnp.bfloat16),
        "c64": jnp.full((2,), 1 + 2j, jnp.complex64),
        "i32": jnp.arange(3),
        "u8": jnp.arange(3, dtype=jnp.uint8),
        "bool": jnp.array([True, False]),
        "key": jax.random.key(0),
        "numpy": np.linspace(0, 1, 3),
        "scalar": np.float32(0.1),
        "struct": jax.ShapeDtypeStruct((5,), jnp.float32),
        "empty": jnp.zeros((0, 3)),
        "float": 0.5,
        "int": 3,
        "act": jax.nn.relu,
        "none": None,
    }


def test_size():
    size = tree_size(everything())
    assert size.parameters == 6 + 4 + 2 + 3 + 1 + 5
    assert size.bytes == 24 + 8 + 16 + 12 + 3 + 2 + 8 + 24 + 4 + 20
    assert size.per_device == {jax.devices()[0]: 24 + 8 + 16 + 12 + 3 + 2 + 8}
    assert tree_size([1, "x", None]) == (0, 0, {})
    shared = jnp.ones(3)
    assert tree_size([shared, shared, jnp.ones(3)]).parameters == 6


def test_size_per_device():
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    named, spec = jax.sharding.NamedSharding, jax.sharding.PartitionSpec
    split = jax.device_put(jnp.ones((4, 3)), named(mesh, spec("x")))
    copied = jax.device_put(jnp.ones(5), named(mesh, spec()))
    one, two = jax.devices()[:2]
    size = tree_size([split, copied])
    assert size.per_device == {one: 24 + 20, two: 24 + 20} and size.bytes == 48 + 20
    struct = jax.ShapeDtypeStruct((4, 3), jnp.float32, sharding=split.sharding)
    assert tree_size(struct).per_device == {one: 24, two: 24}
    on_two = jax.device_put(jnp.ones(5), two)
    assert tree_size(on_two).per_device == {two: 20}


def test_size_under_jit():
    sizes = []
    jax.jit(lambda tree: sizes.append(tree_size(tree)))({"a": jnp.ones(3), "b": jnp.arange(2)})
    assert sizes == [(3, 20, {})]


def test_shapes_on_an_abstract_mesh_are_on_no_device():
    place = NamedSharding(AbstractMesh((2,), ("data",)), PartitionSpec("data"))
    size = tree_size(jax.ShapeDtypeStruct((4, 3), jnp.float32, sharding=place))
    assert size == (12, 48, {})
