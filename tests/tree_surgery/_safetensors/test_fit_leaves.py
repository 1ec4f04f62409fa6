"""Which leaves of a file fit a tree: reports, `strict`, `rename` and `dtype`."""

import dataclasses as dc
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest

from tree_surgery import SerialiseError, tree_equal


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any
    name: str = dc.field(default="linear", metadata={"static": True})


TREE = {
    "layers": [Linear(jnp.ones((2, 3)), jnp.zeros(2))],
    "key": jax.random.key(0),
    "steps": 3,
    "rate": 0.5,
}


# https://github.com/patrick-kidger/equinox/issues/498
# https://github.com/patrick-kidger/equinox/issues/267
def test_all_that_does_not_fit_is_one_error(saved, loaded):
    like = {
        "layers": [Linear(jnp.ones((3, 2)), None), Linear(jnp.ones(1), None)],
        "key": jax.random.key(0, impl="rbg"),
        "steps": True,
        "rate": 1,
    }
    with pytest.raises(SerialiseError) as info:
        loaded(saved(TREE), like)
    assert str(info.value).startswith(
        "The file does not fit `like`. 1 missing, 1 unexpected, 4 mismatched:\n"
        "- layers.1.weight: missing, shape (1,) and dtype float32\n"
        "+ layers.0.bias: unexpected\n"
        "~ key: expected shape () and dtype key<rbg>, found shape () and dtype key<fry>\n"
        "~ layers.0.weight: expected shape (3, 2) and dtype float32, found shape (2, 3) and dtype "
        "float32\n"
        "~ rate: expected Python int, found Python float\n"
        "~ steps: expected Python bool, found Python int\n"
    )
    report = info.value.report
    assert report and report.missing == ["layers.1.weight"]
    assert report.unexpected == ["layers.0.bias"]
    assert [x.path for x in report.mismatched] == ["key", "layers.0.weight", "rate", "steps"]
    assert report.mismatched[1].expected.shape == (3, 2)
    assert (info.value.path, info.value.found) == ("key", "shape () and dtype key<fry>")


@pytest.mark.parametrize(
    ("x", "like"),
    [
        (jnp.ones(2), jnp.ones(2, jnp.int32)),
        (jnp.ones(2), jnp.ones(2, jnp.bfloat16)),
        (np.ones(2), np.ones(2, np.float32)),
        (jnp.ones(()), 1),
        (jnp.ones(()), True),
        (1, jnp.ones(())),
        (1.0, np.float64(1)),
        (jnp.ones(2), None),
        (jnp.ones(2), "text"),
        (None, jnp.ones(2)),
        (jnp.ones(2, jnp.uint32), jax.random.key(0)),
        (jax.random.key(0), jnp.ones(2, jnp.uint32)),
        (jnp.ones(2, jnp.int4), jnp.ones(2, jnp.int8)),
        (2**53 + 1, 1.0),
        (np.ones(2, ">f4"), np.ones(2, "<f4")),
    ],
)
def test_one_leaf_that_does_not_fit(saved, loaded, x, like):
    with pytest.raises(SerialiseError, match="x") as info:
        loaded(saved({"x": x, "y": 1}), {"x": like, "y": 0})
    assert info.value.report is None or info.value.report


def test_what_fits_is_loaded(saved, loaded):
    like = {
        "layers": [Linear(jnp.zeros((2, 3)), jnp.zeros(5)), "new"],
        "steps": 0,
        "more": jax.ShapeDtypeStruct((2,), jnp.float32),
    }
    tree, report = loaded(saved(TREE), like, strict=False)
    assert tree_equal(tree["layers"][0].weight, jnp.ones((2, 3))) and tree["steps"] == 3
    assert tree["layers"][0].bias is like["layers"][0].bias and tree["more"] is like["more"]
    assert report.missing == ["more"] and set(report.unexpected) == {"key", "rate"}
    assert [x.path for x in report.mismatched] == ["layers.0.bias"]
    assert str(report).startswith("1 missing, 2 unexpected, 1 mismatched:\n- more: missing\n")
    tree, report = loaded(saved(TREE), TREE, strict=False)
    assert not report and str(report) == "Everything fits." and tree_equal(tree, TREE)


@pytest.mark.parametrize(
    "rename",
    [
        {"layers": "blocks", "steps": "n.steps"},
        {
            "layers.*.weight": "blocks.*.weight",
            "layers.0.bias": "blocks.0.bias",
            "steps": "n.steps",
        },
        {"layers.**": "blocks.**", "s*": "n.steps"},
        lambda name: name.replace("layers", "blocks").replace("steps", "n.steps"),
    ],
)
def test_rename(saved, loaded, rename):
    like = {"blocks": TREE["layers"], "n": {"steps": 0}, "key": TREE["key"], "rate": 0.0}
    new = loaded(saved(TREE), like, rename=rename)
    assert tree_equal(new["blocks"], TREE["layers"]) and new["n"] == {"steps": 3}


def test_rename_leaves_out_and_refuses(saved, loaded):
    like = {"layers": TREE["layers"]}
    rename = {"key": None, "steps": None, "rate": None}
    assert tree_equal(loaded(saved(TREE), like, rename=rename), like)
    with pytest.raises(SerialiseError, match="`rename` gives `.*` and `.*` the same name `x`"):
        loaded(saved(TREE), like, rename={"steps": "x", "rate": "x"})
    with pytest.raises(SerialiseError, match="more stars than the old"):
        loaded(saved(TREE), like, rename={"steps": "*.x"})


def test_dtype(saved, loaded):
    tree = {"w": jnp.array([1.5, 2.5]), "n": jnp.arange(2), "h": jnp.ones(2, jnp.float16), "x": 0.5}
    data = saved(tree)
    half = loaded(data, tree, dtype=jnp.bfloat16)
    assert half["w"].dtype == half["h"].dtype == jnp.bfloat16 and half["n"].dtype == jnp.int32
    assert half["w"].tolist() == [1.5, 2.5] and half["x"] == 0.5
    like = {
        "w": np.zeros(2),
        "n": jnp.zeros(2, jnp.int8),
        "h": jnp.zeros(2, jnp.bfloat16),
        "x": 0.0,
    }
    new = loaded(data, like, dtype="like")
    assert {k: str(np.asarray(v).dtype) for k, v in new.items()} == {
        "w": "float64",
        "n": "int8",
        "h": "bfloat16",
        "x": "float64",
    }
    with pytest.raises(SerialiseError, match="1 mismatched:\n~ w"):
        loaded(data, like | {"w": jnp.zeros(2, jnp.int32)}, dtype="like")
    with pytest.raises(SerialiseError, match="mismatched:\n~ w: expected shape \\(3,\\)"):
        loaded(data, tree | {"w": jnp.zeros(3)}, dtype=jnp.bfloat16)
    with pytest.raises(SerialiseError, match="`n`.*not all its values fit int8"):
        loaded(saved({"n": jnp.array([300])}), {"n": jnp.array([1], jnp.int8)}, dtype="like")


def test_x64(saved, loaded):
    data = saved({"x": np.ones(2)})
    with pytest.raises(SerialiseError, match="Leaf `x`.*jax_enable_x64"):
        loaded(data, {"x": jax.ShapeDtypeStruct((2,), np.dtype("float64"))})
    with pytest.raises(SerialiseError, match="Leaf `x`.*jax_enable_x64"):
        loaded(data, {"x": jnp.ones(2)}, dtype=np.float64)
