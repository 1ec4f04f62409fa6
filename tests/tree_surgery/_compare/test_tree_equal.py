"""`tree_equal`: a table of pairs, and the same answer by NumPy, under jit and on any device."""

import dataclasses as dc
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tree_surgery import tree_equal

NAN = float("nan")
# Each group holds what is equal without `typematch`; nothing equals anything of another group.
GROUPS = {
    "numbers": [1, 1.0, True],
    "two": [2],
    "text": ["1"],
    "none": [None],
    "empty tuple": [()],
    "list": [[1]],
    "nested": [{"a": [1, (2.0, "x")]}],
    "int32": [np.int32(1), np.array(1, np.int32), jnp.array(1), jnp.asarray(1)],
    "other int32": [jnp.array(2)],
    "int64": [np.int64(1), np.array(1)],
    "float32": [np.float32(1), jnp.array(1.0)],
    "float32 vector": [np.ones(1, np.float32), jnp.ones(1)],
    "float32 longer": [jnp.ones(2)],
    "bfloat16": [jnp.ones((), jnp.bfloat16), np.ones((), jnp.bfloat16)],
    "float8": [jnp.ones(2, jnp.float8_e4m3fn)],
    "int4": [jnp.ones(2, jnp.int4)],
    "empty": [jnp.zeros((0, 3)), np.zeros((0, 3), np.float32)],
    "empty other": [jnp.zeros((3, 0))],
    "bool": [np.True_, jnp.array(True)],
    "complex": [jnp.array(1j)],
    "key": [jax.random.key(0), jax.random.wrap_key_data(jnp.array([0, 0], jnp.uint32))],
    "key 1": [jax.random.key(1)],
    "keys": [jax.random.split(jax.random.key(0))],
    "rbg": [jax.random.key(0, impl="rbg")],
    "old key": [jax.random.PRNGKey(0)],
    "function": [jnp.sin],
    "struct": [jax.ShapeDtypeStruct((2,), jnp.float32)],
    "strings": [np.array(["a", "b"])],
}
NEVER = [NAN, jnp.array(NAN), np.float32(NAN), np.array([1.0, NAN])]


@pytest.mark.parametrize("group", GROUPS)
def test_equal_within_a_group(group):
    for x, y in itertools.product(GROUPS[group], repeat=2):
        assert tree_equal(x, y) is True, (x, y)
        assert tree_equal([0, x], [0, y]) is True
        assert tree_equal(x, y, rtol=1e-3, atol=1e-3) is True
        same_type = type(x) is type(y)
        assert tree_equal(x, y, typematch=True) is same_type, (x, y)


@pytest.mark.parametrize(("one", "two"), list(itertools.combinations(GROUPS, 2)))
def test_unequal_between_groups(one, two):
    x, y = GROUPS[one][0], GROUPS[two][0]
    assert tree_equal(x, y) is False
    assert tree_equal(y, x) is False


@pytest.mark.parametrize("x", NEVER)
def test_nan_equals_nothing(x):
    assert tree_equal(x, x) is False
    assert tree_equal(x, x, rtol=0.1, atol=0.1) is False


def test_any_number_of_trees():
    assert tree_equal([1]) is True
    assert tree_equal([1], [1], [1]) is True
    assert tree_equal([1], [1], [2]) is False
    with pytest.raises(TypeError, match="at least one"):
        tree_equal()


def test_stops_at_the_first_difference():
    class Explosive:
        def __eq__(self, other):
            raise AssertionError("compared")

        __hash__ = None

    x = Explosive()
    assert tree_equal([jnp.ones(2), 1, x], [jnp.ones(2), 2, x]) is False
    assert tree_equal([jnp.ones(2), x], [jnp.ones(3), x]) is False


ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.complex64, bool]),
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
)


@given(ARRAYS, ARRAYS, st.booleans())
def test_numpy_agrees(x, y, same):
    y = x.copy() if same else y
    expected = x.dtype == y.dtype and x.shape == y.shape and bool(np.all(x == y))
    assert tree_equal({"a": [x]}, {"a": [y]}) is expected


TOLERANT = [
    (np.array([1.0, 2.0], np.float32), np.array([1.0, 2.001], np.float32)),
    (np.array([np.inf, 1.0], np.float32), np.array([np.inf, 1.0], np.float32)),
    (np.array([np.inf, 1.0], np.float32), np.array([-np.inf, 1.0], np.float32)),
    (np.array([1.0], np.float32), np.array([np.inf], np.float32)),
    (np.array([np.inf], np.float32), np.array([1.0], np.float32)),
    (np.array([np.nan], np.float32), np.array([np.nan], np.float32)),
    (np.array([1j], np.complex64), np.array([1.001j], np.complex64)),
    (np.array([1.0, 2.0], jnp.bfloat16), np.array([1.0, 2.02], jnp.bfloat16)),
    (np.array([1.0], np.float32), np.array([1.1], np.float32)),
    (np.array([], np.float32), np.array([], np.float32)),
]


@pytest.mark.parametrize(("x", "y"), TOLERANT)
@pytest.mark.parametrize(("rtol", "atol"), [(1e-2, 0.0), (0.0, 1e-2), (1e-3, 1e-3), (0.0, 0.0)])
def test_tolerances_are_those_of_numpy(x, y, rtol, atol):
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    expected = bool(np.allclose(x.astype(wide), y.astype(wide), rtol, atol))
    assert tree_equal(x, y, rtol=rtol, atol=atol) is expected
    assert tree_equal(jnp.asarray(x), y, rtol=rtol, atol=atol) is expected
    jitted = jax.jit(lambda x, y: tree_equal(x, y, rtol=rtol, atol=atol))
    assert bool(jitted(x, y)) is expected


def test_tolerances_leave_integers_and_python_alone():
    assert tree_equal(jnp.array([100]), jnp.array([101]), rtol=0.1) is False
    assert tree_equal(1.0, 1.001, rtol=0.1) is False


def test_tolerance_may_be_an_array():
    x, y = jnp.array([1.0]), jnp.array([1.001])
    assert tree_equal(x, y, rtol=jnp.array(1e-2)) is True
    assert bool(jax.jit(lambda rtol: tree_equal(x, y, rtol=rtol))(1e-2)) is True
    assert bool(jax.jit(lambda rtol: tree_equal(x, y, rtol=rtol))(1e-4)) is False


# --- traced ----------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["int32", "float32", "float32 vector", "bool", "key", "empty"])
def test_under_jit(group):
    for x, y in itertools.product(GROUPS[group], repeat=2):
        answer = jax.jit(tree_equal)([x, 1.0], [y, 1.0])
        assert answer.dtype == bool
        assert answer.shape == ()
        assert bool(answer)
    x = GROUPS[group][0]
    assert not jax.jit(tree_equal)([x, 1.0], [x, 2.0])


def test_what_is_known_while_tracing_is_a_bool():
    @jax.jit
    def f(x):
        assert tree_equal(x, x[:1]) is False
        assert tree_equal(x, [x]) is False
        assert tree_equal([x, 1], [x, 2]) is False
        assert tree_equal([x, jnp.sin], [x, jnp.cos]) is False
        assert tree_equal(x, np.ones(2, np.float32), typematch=True) is False
        return tree_equal([x, np.ones(2)], [x + 0, np.ones(2)])

    assert bool(f(jnp.ones(2)))


# https://github.com/patrick-kidger/equinox/issues/967
def test_python_number_and_tracer():
    assert not jax.jit(lambda x: tree_equal(x, 1))(1)
    assert not tree_equal(jnp.array(1), 1)


def test_under_vmap():
    answer = jax.vmap(tree_equal)(jnp.array([1, 2]), jnp.array([1, 3]))
    assert answer.tolist() == [True, False]


def test_devices_and_shardings():
    devices = jax.devices()
    x = [jax.device_put(jnp.arange(4), device) for device in devices[:2]]
    mesh = jax.sharding.Mesh(np.array(devices), "d")
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    x.append(jax.device_put(jnp.arange(4), spread))
    for a, b in itertools.product(x, repeat=2):
        assert tree_equal(a, b) is True
        assert tree_equal(a, b + 1) is False


def test_accelerators_are_waited_for_once(monkeypatch):
    """No device is a CPU: arrays are compared where they are, and the answers fetched at once."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax.Device, "platform", "gpu")
    fetched = []
    get = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda x: fetched.append(len(x)) or get(x))

    tree = [jnp.arange(4.0), {"key": jax.random.key(0), "n": np.ones(3)}, jnp.ones((2, 2)), "text"]
    twin = jax.tree.map(lambda x: x, tree)
    assert tree_equal(tree, twin) is True
    assert fetched == [3]
    assert tree_equal(tree, [tree[0] + 1, *tree[1:]]) is False
    assert tree_equal(tree, [tree[0] + 1e-4, *tree[1:]], atol=1e-3) is True
    assert tree_equal(tree, [*tree[:3], "other"]) is False
    assert fetched == [3, 3, 3]

    one, two = (jax.device_put(jnp.arange(4), device) for device in jax.devices()[:2])
    assert tree_equal(one, two) is True
    assert tree_equal(one, two + 1) is False


# --- explain ---------------------------------------------------------------------------------


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Sized:
    weight: Any
    size: Any = dc.field(default=3, metadata={"static": True})


ONE = {"a": [np.ones(2), 3], "b": Sized(jnp.arange(3)), "c": None, "d": (), "e": "text"}


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"a": [np.zeros(2), 3]}, "['a'][0]", "both f64[2](numpy), with other values"),
        ({"a": [np.ones(3), 4]}, "['a'][0]", "f64[2](numpy), and f64[3](numpy)"),
        ({"a": [np.ones(2), 4]}, "['a'][1]", "3, and 4"),
        ({"a": [np.ones(2)]}, "['a']", "one has [0], [1], and the other has [0]"),
        ({"a": [np.ones(2), 3, 4]}, "['a']", "one has [0], [1], and the other has [0], [1], [2]"),
        ({"b": Sized(jnp.arange(3), 4)}, "['b'].size", "3, and 4"),
        ({"b": Sized(jnp.arange(4))}, "['b'].weight", "i32[3], and i32[4]"),
        ({"b": 1}, "['b']", "Sized(weight=i32[3]), and 1"),
        ({"c": 1}, "['c']", "None, and 1"),
        ({"d": []}, "['d']", "(), and []"),
        ({"d": (1,)}, "['d']", "one is empty, and the other has [0]"),
        ({"e": "other"}, "['e']", "'text', and 'other'"),
        ({"f": 1}, "<root>", "one has ['a'], ['b'], ['c'], ['d'], ['e'], and the other"),
    ],
)
def test_explain(change, path, reason):
    result = tree_equal(ONE, ONE, ONE | change, explain=True)
    assert not result and not tree_equal(ONE, ONE | change)
    assert result.path == path
    assert result.reason.startswith(reason)
    assert str(result).startswith(f"First difference at `{path}`: ")


def test_explain_is_short_for_nodes_of_many_children():
    many = {f"{i:03}": i for i in range(100)}
    fewer = {key: i for key, i in many.items() if key != "042"}
    said = "one has 100 children, of them alone ['042'], and the other has 99 children"
    assert tree_equal(many, fewer, explain=True).reason == said
    assert tree_equal(many, {"000": 0}, explain=True).reason == (
        "one has 100 children, of them alone ['001'], ['002'], ['003'], ['004'], ['005'], "
        "['006'], ['007'], ['008'] and 91 more, and the other has ['000']"
    )


def test_explain_what_is_equal_or_only_nearly():
    result = tree_equal(ONE, dict(ONE), explain=True)
    assert result and result.path is None and str(result) == "Equal."
    near = {"x": jnp.array([1.0, 2.0])}, {"x": jnp.array([1.0, 2.001])}
    assert tree_equal(*near, rtol=1e-2, explain=True)
    assert tree_equal(*near, explain=True).path == "['x']"
    kinds = tree_equal(
        [np.arange(3, dtype=np.int32)], [jnp.arange(3)], typematch=True, explain=True
    )
    assert kinds.path == "[0]" and not kinds


def test_explain_of_traced_values():
    with pytest.raises(ValueError, match=r"cannot explain.*`\[0\]`.*traced"):
        jax.jit(lambda x: tree_equal([x], [x + 1], explain=True))(1.0)
