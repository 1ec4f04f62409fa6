"""`filter_spec` and `is_leaf`: who writes and reads which leaf."""

import io

import jax.numpy as jnp
import numpy as np
import pytest

from tree_surgery import (
    SerialiseError,
    default_serialise_filter_spec,
    tree_deserialise_leaves,
    tree_equal,
    tree_serialise_leaves,
)


def save(tree, **kwargs):
    file = io.BytesIO()
    tree_serialise_leaves(file, tree, **kwargs)
    return file.getvalue()


def load(data, like, **kwargs):
    file = io.BytesIO(data)
    tree = tree_deserialise_leaves(file, like, **kwargs)
    assert file.read() == b"", "not all was read"
    return tree


def skip(f, x):
    return x


def as_half(f, x):
    np.save(f, np.asarray(x, np.float16))


def from_half(f, x):
    return jnp.asarray(np.load(f).astype(np.float32))


def test_filter_spec_is_a_prefix():
    tree = {"a": [jnp.ones(2), 2.0], "b": jnp.full(3, 0.5)}
    write = {"a": skip, "b": as_half}
    read = {"a": skip, "b": from_half}
    like = {"a": [jnp.zeros(2), 0.0], "b": jnp.zeros(3)}
    data = save(tree, filter_spec=write)
    assert len(data) == 128 + 6
    new = load(data, like, filter_spec=read)
    assert tree_equal(new, {"a": like["a"], "b": tree["b"]})


def test_is_leaf():
    seen = []
    save([None, (1, 2)], filter_spec=lambda f, x: seen.append(x), is_leaf=lambda x: x is None)
    assert seen == [None, 1, 2]
    seen.clear()
    save([(1, 2)], filter_spec=lambda f, x: seen.append(x), is_leaf=lambda x: type(x) is tuple)
    assert seen == [(1, 2)]


@pytest.mark.parametrize(
    ("like", "returned"),
    [
        (jnp.ones(2), "text"),
        (jnp.ones(2), None),
        (jnp.ones(2), jnp.ones(3)),
        (jnp.ones(2), jnp.ones(2, jnp.int32)),
        (jnp.ones(2), np.ones(2, np.float32)),
        (3, 3.0),
        ("text", 3),
        (3, (3, 4)),
    ],
)
def test_what_filter_spec_returns_must_fit(like, returned):
    with pytest.raises(SerialiseError, match=r"Leaf `\[0\]`.*returned"):
        load(b"", [like], filter_spec=lambda f, x: returned)


def test_filter_spec_that_fails():
    with pytest.raises(SerialiseError, match=r"`\['a'\]\[1\]`.*ZeroDivisionError") as info:
        save({"a": [1, 0]}, filter_spec=lambda f, x: 1 / x)
    assert isinstance(info.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("spec", [None, True, [default_serialise_filter_spec], [1, 2]])
def test_filter_spec_is_wrong(spec):
    with pytest.raises(ValueError, match="`filter_spec` must be"):
        save([1, 2], filter_spec=spec)
