"""Files in order that do not fit `like`, or are damaged, foreign or hostile."""

import io
import pickle

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tree_surgery import SerialiseError, tree_deserialise_leaves, tree_serialise_leaves


def save(tree, **kwargs):
    file = io.BytesIO()
    tree_serialise_leaves(file, tree, **kwargs)
    return file.getvalue()


def load(data, like, **kwargs):
    file = io.BytesIO(data)
    tree = tree_deserialise_leaves(file, like, **kwargs)
    assert file.read() == b"", "not all was read"
    return tree


TREE = {"w": jnp.ones((2, 3)), "n": 3, "x": [1.5, True], "key": jax.random.key(0)}


@pytest.mark.parametrize(
    ("where", "like", "message"),
    [
        ("w", jnp.ones((3, 2)), r"`\['w'\]`.*\(3, 2\).*float32.*\(2, 3\).*float32"),
        ("w", jnp.ones((2, 3), jnp.int32), r"`\['w'\]`.*int32.*float32"),
        ("w", jnp.ones((2, 3), jnp.bfloat16), r"`\['w'\]`.*bfloat16.*float32"),
        ("w", np.ones((2, 3)), r"`\['w'\]`.*float64.*float32"),
        ("w", 1.0, r"`\['w'\]`.*Python float.*\(2, 3\)"),
        ("w", jax.random.split(jax.random.key(0), (2, 3)), r"`\['w'\]`.*key<fry>.*float32"),
        ("n", True, r"`\['n'\]`.*Python bool.*int64"),
        ("n", jnp.array(1), r"`\['n'\]`.*int32.*int64"),
        ("x", [1, True], r"`\['x'\]\[0\]`.*Python int.*float64"),
        ("x", [1.0, 1], r"`\['x'\]\[1\]`.*Python int.*bool"),
        ("x", [1.0], r"`\['x'\]`|goes on"),
        ("x", [1.0, True, 1], r"`\['x'\]\[2\]`.*ends here.*more leaves"),
        ("key", jax.random.key(0, impl="rbg"), r"`\['key'\]`.*key<rbg>.*key<fry>"),
        ("key", jnp.ones(2), r"`\['key'\]`.*float32.*prng_key:threefry2x32"),
    ],
)
def test_like_does_not_fit(tmp_path, where, like, message):
    tree_serialise_leaves(tmp_path / "m", TREE)
    with pytest.raises(SerialiseError, match=message):
        tree_deserialise_leaves(tmp_path / "m", TREE | {where: like})


def test_error_carries_what_it_says():
    with pytest.raises(SerialiseError) as info:
        load(save({"a": [jnp.ones(2)]}), {"a": [jnp.ones(3)]})
    assert info.value.path == "['a'][0]"
    assert info.value.expected == "shape (3,) and dtype float32"
    assert info.value.found == "shape (2,) and dtype float32"
    assert isinstance(info.value, RuntimeError)


def test_numbers_that_lose_nothing():
    assert repr(load(save([3, 3, 1.5]), [0.0, 0j, 0j])) == repr([3.0, 3 + 0j, 1.5 + 0j])
    assert load(save(jnp.array(3)), 0) == 3
    with pytest.raises(SerialiseError, match="no `float`"):
        load(save(2**53 + 1), 0.0)


def test_every_truncation_is_an_error(tmp_path):
    data = save(TREE)
    for size in range(len(data)):
        file = io.BytesIO(data[:size])
        with pytest.raises(SerialiseError, match="Leaf `"):
            tree_deserialise_leaves(file, TREE)
        assert file.tell() == 0


def test_trailing_data(tmp_path):
    path = tmp_path / "m.eqx"
    path.write_bytes(save(TREE) + b"x")
    with pytest.raises(SerialiseError, match="goes on"):
        tree_deserialise_leaves(path, TREE)


@given(st.data())
def test_damaged_files(data):
    """Any byte changed: an error of ours, or a tree of the right structure and shapes."""
    content = bytearray(save(TREE))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    try:
        new = load(bytes(content), TREE)
    except SerialiseError:
        return
    assert jtu.tree_structure(new) == jtu.tree_structure(TREE)
    assert new["w"].shape == (2, 3)


@pytest.mark.parametrize("damage", [b"z\0\0\0", b"\xff\xff\xff\xff"])
def test_damaged_digits_of_a_large_integer(damage):
    content = save(10**30)
    with pytest.raises(SerialiseError, match="its record is damaged"):
        load(content[:-4] + damage, 0)


class Hostile:
    def __reduce__(self):
        return (pytest.fail, ("was unpickled",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Hostile()),
        b"PK\x03\x04" + bytes(100),
        b"\x93NUMPY\x09\x00" + bytes(200),
        b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 70000,
    ],
)
def test_foreign_files(content):
    with pytest.raises(SerialiseError):
        load(content, [jnp.ones(2)])


def test_nothing_is_unpickled():
    file = io.BytesIO()
    np.save(file, np.array([Hostile()], dtype=object), allow_pickle=True)
    for like in (np.array([None]), np.ones(1), jnp.ones(1), 1, 1.0):
        with pytest.raises(SerialiseError, match="pickle"):
            load(file.getvalue(), like)
