"""`tree_pformat`: texts, and the layout of `wadler_lindig` as an oracle for our own."""

import collections
import dataclasses as dc
import functools as ft
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
import wadler_lindig as wl
from hypothesis import given
from hypothesis import strategies as st

from tree_surgery import TreeWLCustom, tree_pformat, tree_pprint

Pair = collections.namedtuple("Pair", "left right")


@dc.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any = None
    hidden: Any = dc.field(default=0, repr=False)
    sizes: list[int] = dc.field(default_factory=list)


@dc.dataclass(repr=False)
class Written:
    x: Any = 1

    def __repr__(self):
        return "not this"


class Own:
    def __init__(self, text):
        self.text = text

    def __pdoc__(self, **kwargs):
        return wl.TextDoc(self.text)


class Around:
    """Uses what it is given, as code that is written for `wadler_lindig` does."""

    def __init__(self, x):
        self.x = x

    def __pdoc__(self, **kwargs):
        inner = wl.pdoc(self.x, **kwargs)
        text = wl.pformat(self.x, width=20, **kwargs)
        return wl.TextDoc(f"<{len(text.splitlines())}>") + inner


def function(x):
    return x


@ft.wraps(function)
def wrapping(x):
    return function(x)


def recursive():
    tree: list[Any] = [1]
    tree.append(tree)
    return tree


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (jnp.ones((3, 4)), "f32[3,4]"),
        (jnp.ones(()), "f32[]"),
        (jnp.asarray(1.0), "weak_f32[]"),
        (jnp.ones(2, jnp.bfloat16), "bf16[2]"),
        (jnp.ones(2, jnp.float8_e4m3fn), "f8_e4m3fn[2]"),
        (jnp.ones(2, jnp.int4), "i4[2]"),
        (jnp.ones(2, jnp.complex64), "c64[2]"),
        (jnp.ones(2, bool), "bool[2]"),
        (np.ones((2, 0)), "f64[2,0](numpy)"),
        (np.ones(2, np.uint8), "u8[2](numpy)"),
        (np.array(["a"]), "<U1[1](numpy)"),
        (np.float32(1), repr(np.float32(1))),
        (jax.random.key(0), "key<fry>[]"),
        (jax.random.split(jax.random.key(0, impl="rbg")), "key<rbg>[2]"),
        (
            jax.ShapeDtypeStruct((2, 3), jnp.float32),
            repr(jax.ShapeDtypeStruct((2, 3), jnp.float32)),
        ),
        ([1, 1.5, True, None, 1j, "a", b"b", ...], "[1, 1.5, True, None, 1j, 'a', b'b', ...]"),
        ([(), [], {}, set(), frozenset([1])], "[(), [], {}, set(), frozenset({1})]"),
        (((1,), (1, 2)), "((1,), (1, 2))"),
        ({"k": {1: "v"}}, "{'k': {1: 'v'}}"),
        (collections.OrderedDict(a=1), "{'a': 1}"),
        (Pair(1, jnp.ones(2)), "Pair(left=1, right=f32[2])"),
        (Layer(1), "Layer(weight=1, sizes=[])"),
        (Layer(1, None, 5), "Layer(weight=1, sizes=[])"),
        (Layer(1, 2, 5, [3]), "Layer(weight=1, bias=2, sizes=[3])"),
        ([Written(2), Written()], "[Written(x=2), Written()]"),
        (object.__new__(Layer), "Layer(weight=<uninitialised>, sizes=<uninitialised>)"),
        (function, "<function function>"),
        (wrapping, "<wrapped function function>"),
        (jax.jit(function), "<wrapped function function>"),
        (jax.jit(jax.vmap(function)), "<wrapped function function>"),
        (jax.custom_jvp(function), "<function function>"),
        (jax.nn.relu, "<wrapped function relu>"),
        (ft.lru_cache(function), "<wrapped function function>"),
        (len, "<built-in function len>"),
        (ft.partial(function, 1, b=jnp.ones(2)), "partial(<function function>, 1, b=f32[2])"),
        (
            jtu.Partial(function, 1, b=jnp.ones(2)),
            "Partial(func=<function function>, args=(1,), keywords={'b': f32[2]})",
        ),
        (
            [int, jnp.float32, list[int], int | str],
            "[int, jax.numpy.float32, list[int], int | str]",
        ),
        ([Own("own"), Own("text")], "[own, text]"),
        ([Around({"a": jnp.ones(2)})], "[<1>{'a': f32[2]}]"),
        (recursive(), "[1, <recursive>]"),
        ((x := [1], x), "([1], [1])"),
    ],
)
def test_text(tree, text):
    assert tree_pformat(tree) == text


def test_tracers():
    texts = []
    jax.jit(lambda x: texts.append(tree_pformat({"x": x})) or x)(jnp.ones(2))
    assert texts == ["{'x': f32[2]}"]


def test_long():
    tree = Layer(jnp.ones((3, 4)), {"scale": (jnp.ones(2),), "names": ["one", "two"]}, 0, [1, 2])
    assert tree_pformat(tree, width=40) == (
        "Layer(\n"
        "  weight=f32[3,4],\n"
        "  bias={\n"
        "    'scale': (f32[2],),\n"
        "    'names': ['one', 'two']\n"
        "  },\n"
        "  sizes=[1, 2]\n"
        ")"
    )
    assert tree_pformat([1, 2], width=1, indent=4) == "[\n    1,\n    2\n]"
    assert tree_pformat((1,), width=1) == "(\n  1,\n)"
    assert tree_pformat([1, 2, 3], width=8, indent=0) == "[\n1, 2, 3\n]"


def test_options():
    array = jnp.arange(2)
    tree = {"a": array, "n": np.arange(2), "s": jax.ShapeDtypeStruct((2,), jnp.int32)}
    assert tree_pformat(tree, short_arrays=False, width=200) == (
        f"{{'a': {array!r}, 'n': {np.arange(2)!r}, 's': {tree['s']!r}}}"
    )
    assert (
        tree_pformat(tree, struct_as_array=True) == "{'a': i32[2], 'n': i64[2](numpy), 's': i32[2]}"
    )
    truncated = tree_pformat(
        [1, (2,), Layer(1), array], truncate_leaf=lambda x: isinstance(x, tuple | Layer | jax.Array)
    )
    assert truncated == f"[1, tuple(...), Layer(...), {type(array).__name__}(...)]"
    assert tree_pformat([1], truncate_leaf=lambda x: True) == "list(...)"


def test_pprint(capsys):
    tree_pprint([1, 2], width=1)
    assert capsys.readouterr().out == "[\n  1,\n  2\n]\n"


# --- against wadler_lindig -------------------------------------------------------------------

LEAVES = st.one_of(
    st.integers(0, 10**6),
    st.text("abc \n\x1bé界", max_size=12),
    st.sampled_from([None, jnp.ones(2), np.ones((2, 3)), "line\nline", len, function]),
    st.builds(Own, st.sampled_from(["short", "two\nlines", "\x1b[1mbold\x1b[0m", ""])),
)


def containers(children):
    lists = st.lists(children, max_size=4)
    return st.one_of(
        lists,
        lists.map(tuple),
        st.dictionaries(st.one_of(st.text("ab", max_size=9), st.tuples(st.integers())), children),
        st.tuples(children, children).map(lambda xs: Pair(*xs)),
        st.builds(Layer, children, children, children, lists),
        lists.map(lambda xs: ft.partial(function, *xs)),
        st.sampled_from([{1, 2}, frozenset(["a" * 20, "b" * 20])]),
    )


def short(x):
    if isinstance(x, jax.Array):
        return wl.array_summary(x.shape, str(x.dtype), None)
    return None


@given(
    st.recursive(LEAVES, containers, max_leaves=20), st.integers(1, 100), st.sampled_from([0, 2, 5])
)
def test_layout_is_that_of_wadler_lindig(tree, width, indent):
    expected = wl.pformat(tree, width=width, indent=indent, custom=short)
    assert tree_pformat(tree, width=width, indent=indent) == expected


def test_time_is_linear_in_depth():
    tree: Any = 0
    for _ in range(200):
        tree = [tree, "x" * 50]
    assert tree_pformat(tree).count("\n") == 3 * 200


def test_options_of_leaves_for_wadler_lindig_itself():
    tree = [
        jnp.ones(3),
        jax.ShapeDtypeStruct((2,), jnp.float32),
        {"a": 1},
        jnp.asarray(1.0),
        jnp.sin,
    ]
    short = wl.pformat(tree, custom=TreeWLCustom(lambda x: isinstance(x, dict), True, True))
    assert short == "[f32[3], f32[2], dict(...), weak_f32[], <wrapped function sin>]"
    for as_array in (False, True):  # there is no long form of what has no elements
        long = wl.pformat(tree[:3], custom=TreeWLCustom(lambda x: False, False, as_array))
        assert long == f"[f32[3](jax), {tree[1]!r}, {{'a': 1}}]"
        options: Any = {"short_arrays": False, "struct_as_array": as_array, "width": 200}
        assert tree_pformat(tree[:2], **options) == f"[{tree[0]!r}, {tree[1]!r}]"


def test_options_of_leaves_by_name_as_in_equinox():
    custom = TreeWLCustom(
        truncate_leaf=lambda x: isinstance(x, int), short_arrays=True, struct_as_array=True
    )
    tree = {"a": np.arange(2), "s": jax.ShapeDtypeStruct((2,), jnp.int8), "n": 1}
    assert wl.pformat(tree, custom=custom) == "{'a': i64[2](numpy), 's': i8[2], 'n': int(...)}"
    with pytest.raises(TypeError, match="struct_as_array"):
        TreeWLCustom(lambda x: False, True)
