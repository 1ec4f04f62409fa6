"""A model that is made over several devices: its numbers, and what each of them holds for it."""

from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

import nn_layers as nn
from filtered_transforms import filter_jit, is_array, partition
from tree_surgery import fsdp, tree_shardings

ARGS = (64, 64, 256, 3)
RULES = fsdp("data", min_size=64)
KEY = jax.random.key(0)


def mesh_of(n: int, axis_type: Any = AxisType.Auto) -> Any:
    return jax.make_mesh((n,), ("data",), axis_types=(axis_type,), devices=jax.devices()[:n])


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_it_has_the_numbers_of_one_made_whole(axis_type: Any):
    mesh = mesh_of(2, axis_type)
    with jax.set_mesh(mesh):
        made = filter_jit(nn.MLP, out_shardings=RULES)(*ARGS, key=KEY)
    whole = nn.MLP(*ARGS, key=KEY)
    assert jax.tree.structure(made) == jax.tree.structure(whole)
    expected = jax.tree.leaves(tree_shardings(whole, RULES, mesh))
    arrays, plain = (jax.tree.leaves(partition(m, is_array)[0]) for m in (made, whole))
    for array, there, where in zip(arrays, plain, expected, strict=True):
        np.testing.assert_array_equal(array, there)
        assert array.sharding.is_equivalent_to(where, array.ndim)


def test_no_device_holds_the_whole():
    def memory(n: int) -> tuple[int, int]:
        with jax.set_mesh(mesh_of(n)):
            compiled = filter_jit(nn.MLP, out_shardings=RULES).lower(*ARGS, key=KEY).compile()
        found = compiled.memory_analysis()
        return found.output_size_in_bytes, found.temp_size_in_bytes

    (result, work), (half_result, half_work) = memory(1), memory(2)
    arrays, _ = partition(nn.MLP(*ARGS, key=KEY), is_array)
    parameters = sum(x.size for x in jax.tree.leaves(arrays))
    assert result >= 4 * parameters
    assert half_result <= 0.51 * result and half_work <= 0.51 * work
