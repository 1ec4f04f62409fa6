"""Metadata and what `peek` tells of a file, and the fingerprint of a tree."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tree_surgery as ts
from tree_surgery import SerialiseError, peek, save, tree_fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), JSON, max_size=3))
def test_metadata(saved, metadata):
    data = saved({"w": np.ones(2)}, metadata=metadata)
    info = peek(io.BytesIO(data))
    assert info.metadata == metadata
    assert {k: type(v) for k, v in info.metadata.items()} == {
        k: type(v) for k, v in metadata.items()
    }


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"a": jnp.ones(2)}, "`a` cannot be kept as JSON"),
        ({"a": {1: 2}}, "`a` would not come back"),
        ({1: 2}, "1 cannot be a key"),
        ({"tree_surgery": 2}, "'tree_surgery' cannot be a key"),
        ({"a": "x" * (1 << 25)}, "Keep large things in arrays"),
    ],
)
def test_metadata_that_cannot_be_kept(saved, metadata, said):
    with pytest.raises(SerialiseError, match=said):
        saved([1], metadata=metadata)


def test_arguments_that_are_no_dictionaries(saved, loaded):
    with pytest.raises(SerialiseError, match="Metadata are a dictionary .* `list`"):
        saved({"a": 1}, metadata=[1])
    with pytest.raises(SerialiseError, match="`rename` is a dictionary .* `list`"):
        loaded(saved({"a": 1}), {"a": 0}, rename=["a"])


def test_errors_name_the_file_and_its_format(tmp_path):
    ts.tree_serialise_leaves(tmp_path / "old.eqx", {"a": jnp.ones(2)})
    with pytest.raises(SerialiseError, match="`tree_deserialise_leaves` reads") as info:
        ts.load(tmp_path / "old.eqx", {"a": jnp.ones(2)})
    assert info.value.__notes__ == [f"The file is `{tmp_path / 'old.eqx'}`."]
    ts.save(tmp_path / "new", {"a": jnp.ones(2)})
    with pytest.raises(SerialiseError, match="1 missing") as info:
        ts.load(tmp_path / "new", {"b": jnp.ones(2)})
    assert info.value.__notes__ == [f"The file is `{tmp_path / 'new.safetensors'}`."]


def test_peek_reads_the_header_only(tmp_path):
    tree = {"w": jnp.ones((500, 500)), "k": jax.random.key(0), "n": 3}
    save(tmp_path / "m", tree, metadata={"shape": (2, 3)})
    with (tmp_path / "m.safetensors").open("rb") as file:
        info = peek(file)
        assert file.tell() == 0
    assert info.metadata == {"shape": [2, 3]}
    assert {name: str(x) for name, x in info.leaves.items()} == {
        "w": "shape (500, 500) and dtype float32",
        "k": "shape () and dtype key<fry>",
        "n": "Python int",
    }
    assert info == peek(tmp_path / "m.safetensors")
    shapes = jax.eval_shape(lambda: tree) | {"n": 0}
    assert info.fingerprint == tree_fingerprint(tree) == tree_fingerprint(shapes)


def test_fingerprint_is_of_names_and_kinds():
    tree = {"w": np.ones((2, 3)), "n": 3}
    same = [{"n": 4, "w": np.zeros((2, 3))}, {**tree, "f": jnp.sin}, {**tree, "none": None}]
    other = [
        {"w": np.ones((3, 2)), "n": 3},
        {"w": np.ones((2, 3), np.float32), "n": 3},
        {"w": np.ones((2, 3)), "n": 3.0},
        {"v": np.ones((2, 3)), "n": 3},
        {"w": np.ones((2, 3))},
    ]
    assert {tree_fingerprint(x) for x in same} == {tree_fingerprint(tree)}
    assert len({tree_fingerprint(x) for x in [tree, *other]}) == 1 + len(other)
