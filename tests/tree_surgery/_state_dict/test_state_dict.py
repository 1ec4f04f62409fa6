"""Trees to and from state dictionaries, those of PyTorch among them."""

import dataclasses as dc
import sys
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tree_surgery import (
    SerialiseError,
    from_state_dict,
    to_state_dict,
    tree_equal,
    tree_stack,
    tree_unstack,
)


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any
    act: Any = dc.field(default=jax.nn.relu, metadata={"static": True})


def layer(i):
    return Linear(jnp.arange(6.0).reshape(2, 3) + 10 * i, jnp.arange(2.0) + i)


MODEL = {"embed": jnp.ones((5, 3)), "layers": [layer(i) for i in range(3)], "rate": 0.5, "f": len}


def zeros(tree):
    return jax.tree.map(lambda x: jnp.zeros_like(x) if isinstance(x, jax.Array) else x, tree)


def test_round_trip():
    state_dict = to_state_dict(MODEL)
    assert list(state_dict) == [
        "embed",
        *(f"layers.{i}.{name}" for i in range(3) for name in ("weight", "bias")),
        "rate",
    ]
    assert all(type(x) is np.ndarray and x.flags.writeable for x in list(state_dict.values())[:-1])
    assert state_dict["layers.1.bias"].tolist() == [1.0, 2.0] and state_dict["rate"] == 0.5
    assert tree_equal(from_state_dict(state_dict, zeros(MODEL)), MODEL, typematch=True)


def test_keys_of_all_kinds_and_scalars():
    tree = {
        "key": jax.random.split(jax.random.key(3), 2),
        "s": np.float32(2),
        "i4": jnp.ones(2, "int4"),
    }
    assert tree_equal(from_state_dict(to_state_dict(tree), tree), tree, typematch=True)
    mixed = {"w": jnp.ones(2), "v": np.ones(2, np.float32), "n": np.int64(3), "x": 2}
    like = {"w": np.zeros(2, np.float32), "v": jnp.zeros(2), "n": 0, "x": 0.0}
    new = from_state_dict(mixed, like)
    assert {k: type(x) for k, x in new.items()} == {
        "w": np.ndarray,
        "v": type(like["v"]),
        "n": int,
        "x": float,
    }
    assert new["n"] == 3 and new["x"] == 2.0


def test_arrays_are_copied():
    mine = {"w": np.ones(1024, np.float32)}
    for like in ({"w": jnp.zeros(1024)}, {"w": np.zeros(1024, np.float32)}):
        new = from_state_dict(mine, like)
        mine["w"][0] = 5
        assert new["w"][0] == 1
        mine["w"][0] = 1
    given = to_state_dict(MODEL)
    given["embed"][:] = 7
    assert MODEL["embed"][0, 0] == 1


def test_rename_and_transpose():
    state_dict = {
        "model.tok.weight": np.ones((5, 3), np.float32),
        "model.h.0.kernel": np.arange(6, dtype=np.float32).reshape(3, 2),
        "model.h.0.b": np.arange(2, dtype=np.float32),
        "model.h.0.attn.mask": np.ones(9),
        "rate": 0.5,
    }
    rules = {
        "**.attn.mask": None,
        "model.tok.weight": "embed",
        "model.h.*.kernel": "layers.*.weight",
        "model.h.*.b": "layers.*.bias",
    }
    like = zeros({**MODEL, "layers": MODEL["layers"][:1]})
    new = from_state_dict(state_dict, like, rename=rules, transpose={"layers.*.weight": (1, 0)})
    assert new["layers"][0].weight.tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    assert new["layers"][0].bias.tolist() == [0.0, 1.0]
    back = to_state_dict(
        new,
        transpose={"**.weight": (1, 0), "embed": lambda x: x[None]},
        rename={"embed": "model.tok.weight", "layers.*.weight": "model.h.*.kernel"},
    )
    assert np.array_equal(back["model.h.0.kernel"], state_dict["model.h.0.kernel"])
    assert back["model.tok.weight"].shape == (1, 5, 3)
    assert back["model.h.0.kernel"].flags.c_contiguous


def test_the_bias_of_a_convolution():
    """One axis there, and here one more for each dimension of space."""
    like = {"conv": Linear(jnp.zeros((4, 2, 3, 3)), jnp.zeros((4, 1, 1)))}
    state_dict = {"conv.weight": np.ones((4, 2, 3, 3)), "conv.bias": np.arange(4.0)}
    rule = {"conv.bias": lambda x: x[:, None, None]}
    new = from_state_dict(state_dict, like, transpose=rule, dtype="like")
    assert new["conv"].bias.ravel().tolist() == [0, 1, 2, 3]
    assert to_state_dict(new, transpose={"**.bias": np.ravel})["conv.bias"].tolist() == [0, 1, 2, 3]


@given(st.integers(1, 4), st.booleans())
def test_stacked_layers_are_split_and_joined(count, nested):
    layers = [layer(i) for i in range(count)]
    apart, stacked = {"layers": layers, "n": 1}, {"layers": tree_stack(layers), "n": 1}
    path = "layers"
    if nested:
        apart, stacked, path = {"m": [apart]}, {"m": [stacked]}, "m.*.layers"
    flat, flat_stacked = to_state_dict(apart), to_state_dict(stacked)
    assert tree_equal(to_state_dict(stacked, split=path), flat)
    assert tree_equal(to_state_dict(apart, join=[path]), flat_stacked)
    assert tree_equal(from_state_dict(flat, zeros(stacked), join=path), stacked)
    assert tree_equal(from_state_dict(flat_stacked, zeros(apart), split=path), apart)
    inner = stacked["m"][0] if nested else stacked
    assert tree_equal(tree_unstack(inner["layers"]), layers)


def test_transposition_is_of_single_layers():
    state_dict = {f"h.{i}.w": np.full((3, 2), i, np.float32) for i in range(4)}
    like = {"h": {"w": jnp.zeros((4, 2, 3))}}
    new = from_state_dict(state_dict, like, transpose={"h.*.w": (1, 0)}, join="h")
    assert new["h"]["w"][:, 0, 0].tolist() == [0, 1, 2, 3]
    back = to_state_dict(new, transpose={"h.*.w": (1, 0)}, split="h")
    assert tree_equal(back, state_dict)


def test_what_does_not_fit():
    state_dict = to_state_dict(MODEL)
    del state_dict["layers.1.bias"]
    state_dict |= {"more": np.ones(1), "embed": np.ones((5, 4), np.float32)}
    with pytest.raises(SerialiseError, match="state dictionary does not fit") as info:
        from_state_dict(state_dict, MODEL)
    report = info.value.report
    assert (report.missing, report.unexpected) == (["layers.1.bias"], ["more"])
    assert [str(x.found) for x in report.mismatched] == ["shape (5, 4) and dtype float32"]
    tree, same = from_state_dict(state_dict, zeros(MODEL), strict=False)
    assert same == report and tree_equal(tree["layers"][2], MODEL["layers"][2])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"join": "embed"}, "found no layers `embed.0`"),
        ({"split": "rate"}, "`split='rate'` needs arrays .* found none"),
        ({"split": "**"}, "first axis counts the layers, but found"),
        ({"transpose": {"embed": (0, 1, 2)}}, r"`embed`.*\(5, 3\) cannot be transposed"),
        ({"transpose": {"rate": (0,)}}, "`rate`.*is not an array"),
        ({"rename": {"rate": "embed"}}, "the same name `embed`"),
    ],
)
def test_rules_that_do_not_work(arguments, said):
    with pytest.raises(SerialiseError, match=said):
        to_state_dict(MODEL, **arguments)


def test_a_transposition_that_fits_nothing():
    # of a square matrix nobody would notice
    state_dict, like = {"out.weight": np.ones((2, 2), "f4")}, {"out": {"weight": jnp.ones((2, 2))}}
    for pattern in ["out.wieght", "weight", "out"]:
        rule = {pattern: (1, 0)}
        with pytest.raises(SerialiseError, match=f"`{pattern}` of `transpose` .* `out.weight`"):
            from_state_dict(state_dict, like, transpose=rule)
        with pytest.raises(SerialiseError, match="fits no whole path"):
            to_state_dict(like, transpose=rule)
        assert not from_state_dict(state_dict, like, transpose=rule, strict=False)[1]
    with pytest.raises(SerialiseError, match="nothing"):
        from_state_dict({}, {}, transpose={"w": (1, 0)})


def test_layers_that_cannot_be_joined():
    some = {"h.0.w": np.ones(2), "h.2.w": np.ones(2)}
    with pytest.raises(SerialiseError, match=r"needs the layers 0, 1, .* of `h.w`, .*\[0, 2\]"):
        from_state_dict(some, {}, join="h")
    some = {"h.0.w": np.ones(2), "h.1.w": np.ones(3)}
    with pytest.raises(SerialiseError, match=r"`h.w`.*different shapes"):
        from_state_dict(some, {}, join="h")
    some = {"h.0.p": 0.5, "h.1.p": 0.25}
    with pytest.raises(SerialiseError, match="only arrays, and numbers that are all equal"):
        from_state_dict(some, {}, join="h")
    assert (
        from_state_dict({"h.0.p": 0.5, "h.1.p": 0.5}, {"h": {"p": 0.0}}, join="h")["h"]["p"] == 0.5
    )


def test_what_is_no_array():
    with pytest.raises(SerialiseError, match="`w`.*`object` is not an array of numbers"):
        from_state_dict({"w": object()}, {"w": jnp.ones(1)})


class Tensor:
    """Does what a tensor of PyTorch does, as far as that is asked of it."""

    def __init__(self, array, grad=False, device="cuda"):
        self.array, self.grad, self.device = array, grad, device

    def detach(self):
        return type(self)(self.array, False, self.device)

    def cpu(self):
        return Tensor(self.array, self.grad, "cpu")

    def resolve_conj(self):
        return self

    def contiguous(self):
        return self

    def numpy(self):
        if self.grad or self.device != "cpu":
            raise RuntimeError("detach it, and bring it to the CPU")
        if str(self.array.dtype) == "bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.asarray(self.array)

    def __dlpack__(self, **kwargs):
        return jnp.asarray(self.array).__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return jnp.asarray(self.array).__dlpack_device__()


def test_tensors_of_pytorch():
    assert "torch" not in sys.modules
    state_dict = {
        "layers.0.weight": Tensor(np.ones((2, 3), np.float32), grad=True),
        "layers.0.bias": Tensor(jnp.array([1, 2], jnp.bfloat16), grad=True),
    }
    like = {"layers": [Linear(jnp.zeros((2, 3)), jnp.zeros(2, jnp.bfloat16))]}
    new = from_state_dict(state_dict, like)
    assert new["layers"][0].weight.tolist() == [[1.0] * 3] * 2
    assert new["layers"][0].bias.dtype == jnp.bfloat16 and new["layers"][0].bias.tolist() == [1, 2]
    with pytest.raises(SerialiseError, match="`x`.*cannot be made an array"):
        from_state_dict({"x": type("Far", (Tensor,), {"cpu": lambda s: s})(np.ones(1))}, {"x": 1})


def test_what_comes_after_rename_is_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        to_state_dict(MODEL, None, {})
    with pytest.raises(TypeError, match="positional"):
        from_state_dict({}, {}, None, {})
