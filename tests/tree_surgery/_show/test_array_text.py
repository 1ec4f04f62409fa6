"""`array_text`: dtype and shape, whatever knows them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tree_surgery.extend import array_text


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (jnp.ones((2, 3)), "float32[2,3]"),
        (jnp.ones((), jnp.bfloat16), "bfloat16[]"),
        (np.ones(4, np.int64), "int64[4]"),
        (np.float64(1.0), "float64[]"),
        (jax.ShapeDtypeStruct((0, 2), bool), "bool[0,2]"),
        (jax.random.key(0), "key<fry>[]"),
    ],
)
def test_dtype_and_shape(x, text):
    assert array_text(x) == text


def test_a_tracer_is_written_as_the_array():
    texts = []
    jax.jit(lambda x: texts.append(array_text(x)))(jnp.ones((2, 3)))
    assert texts == ["float32[2,3]"]
