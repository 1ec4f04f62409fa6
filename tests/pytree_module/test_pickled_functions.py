"""Functions in modules go through pickle, cloudpickle and copy by the name where they are found."""

import copy
import dataclasses
import functools
import operator
import pickle
import subprocess
import sys
from collections import OrderedDict
from typing import Any, NamedTuple

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytree_module import BoundMethod, Module, Partial, Static, field, module_update_wrapper

WAYS = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "pickle 2": lambda x: pickle.loads(pickle.dumps(x, protocol=2)),
    "pickle in Python": lambda x: pickle._loads(pickle._dumps(x)),  # type: ignore[attr-defined]
    "cloudpickle": lambda x: pickle.loads(cloudpickle.dumps(x)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
each_way = pytest.mark.parametrize("way", WAYS)


class Holder(Module):
    leaf: Any
    value: Any = field(static=True, default=None)

    def apply(self, x):
        return self.leaf(x)


@jax.jit
def jitted(x):
    return 2 * x


assigned = jax.jit(lambda x: 4 * x)


@jax.custom_jvp
def ruled(x):
    return 3 * x


ruled.defjvps(lambda dx, y, x: 3 * dx)


@jax.custom_vjp
def backward(x):
    return x


backward.defvjp(lambda x: (x, None), lambda _, g: (g,))


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class Config:
    activation: Any
    size: int = 3


def decorate(fun):
    return module_update_wrapper(Decorated(fun))


class Decorated(Module):
    fun: Any

    @property
    def __wrapped__(self):
        return self.fun

    def __call__(self, x):
        return self.fun(x)


@decorate
def decorated(x):
    return x + 1


FUNCTIONS = {
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "tanh": jnp.tanh,
    "add": jnp.add,
    "lax.tanh": jax.lax.tanh,
    "logsumexp": jax.scipy.special.logsumexp,
    "det": jnp.linalg.det,
    "jitted": jitted,
    "assigned": assigned,
    "ruled": ruled,
    "backward": backward,
    "decorated": decorated,
    "numpy": np.add,
    "builtin": len,
    "type": jnp.float32,
}

PLACES = {
    "leaf": Holder,
    "static": lambda f: Holder(0, f),
    "tuple": lambda f: Holder((1, f)),
    "static tuple": lambda f: Holder(0, (1, (f, "a"))),
    "list": lambda f: Holder([f, [f]]),
    "dict": lambda f: Holder({"a": f}),
    "ordered dict": lambda f: Holder(OrderedDict(a=f, b=2)),
    "named tuple": lambda f: Holder(Pair(f, 1)),
    "frozenset": lambda f: Holder(0, frozenset([f, "a"])),
    "dataclass": lambda f: Holder(0, Config(f)),
    "Partial": lambda f: Partial(f, 1, k=2),
    "Partial of a Module": lambda f: Partial(Holder(f), f),
    "jax Partial": lambda f: Holder(jax.tree_util.Partial(f, 1)),
    "Static": lambda f: Static({"f": f, "x": [1.0, f]}),
    "Static of a Module": lambda f: Static(Holder(1, f)),
    "treedef": lambda f: Holder(0, jax.tree_util.tree_structure(Holder(1, f))),
    "Module": lambda f: Holder(Holder([Holder(f)])),
    "method": lambda f: Holder(f).apply,
    "method in a Module": lambda f: Holder(Holder(f).apply),
}


@pytest.mark.parametrize("way", ["pickle", "cloudpickle", "copy", "deepcopy"])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_read_is_equal_and_finds_the_same_program(place, way) -> None:
    for name in ("relu", "gelu", "add", "jitted", "decorated"):
        function = FUNCTIONS[name]
        traces = 0

        @functools.partial(jax.jit, static_argnums=0)
        def run(treedef):
            nonlocal traces
            traces += 1
            return 0

        made = PLACES[place](function)
        read = made if isinstance(made, BoundMethod) and way == "copy" else WAYS[way](made)
        assert type(read) is type(made) and read == made, name
        leaves, treedef = jax.tree_util.tree_flatten(made)
        read_leaves, read_treedef = jax.tree_util.tree_flatten(read)
        assert read_treedef == treedef and hash(read_treedef) == hash(treedef), name
        assert all(a is b or a == b for a, b in zip(leaves, read_leaves, strict=True)), name
        run(treedef), run(read_treedef)
        assert traces == 1, name


@each_way
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_very_function_is_read(name, way) -> None:
    function = FUNCTIONS[name]
    read = WAYS[way](Holder(function, (function, "a")))
    assert read.leaf is function and read.value[0] is function
    if isinstance(function, Module):
        return  # a partial would hide it
    partial = WAYS[way](Holder(functools.partial(function, 1, k=2))).leaf
    assert partial.func is function and partial.args == (1,) and partial.keywords == {"k": 2}


@pytest.mark.parametrize("space", ["nn", "numpy", "lax", "scipy.special", "numpy.linalg", "random"])
def test_every_public_function_of_jax_goes_by_a_public_name(space) -> None:
    module = operator.attrgetter(space)(jax)
    functions = [f for n, f in vars(module).items() if callable(f) and not n.startswith("_")]
    aliases = ("typing", "types")  # of types, for annotations
    functions = [f for f in functions if type(f).__module__ not in aliases]
    functions = [f for f in functions if not isinstance(f, type)]
    assert len(functions) > 10
    for function in functions:
        written = pickle.dumps(Holder(function))
        assert pickle.loads(written).leaf is function
        if getattr(module, getattr(function, "__name__", ""), None) is function:
            assert b"_src" not in written, function


@pytest.mark.parametrize(
    "make, path",
    [
        (lambda f: Holder(f), "Holder.leaf"),
        (lambda f: Holder(0, f), "Holder.value"),
        (lambda f: Holder([{"a": (1, f)}]), "Holder.leaf[0]['a'][1]"),
        (lambda f: Holder(Holder([Holder(0, f)])), "Holder.leaf.leaf[0].value"),
        (lambda f: Holder(Holder(f).apply), "Holder.leaf.__self__.leaf"),
        (lambda f: Holder(0, Config(f)), "Holder.value.activation"),
        (lambda f: Holder(Pair(0, (f,))), "Holder.leaf.second[0]"),
        (lambda f: Partial(len, f), "Partial.args[0]"),
        (lambda f: Holder(functools.partial(len, f)), "Holder.leaf.args[0]"),
        (lambda f: Static([1, f]), "Static.value[1]"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.custom_jvp, jax.vmap])
def test_a_function_without_a_name_is_an_error_with_its_path(make, path, wrap) -> None:
    made = make(wrap(lambda x: x + 1))
    with pytest.raises(pickle.PicklingError) as caught:
        pickle.dumps(made)
    assert f"`{path}` holds" in str(caught.value) and "under no name" in str(caught.value)
    assert copy.deepcopy(made) == made  # in one process there is no need of a name
    read = pickle.loads(cloudpickle.dumps(made))  # which writes functions down
    assert type(read) is type(made)


def test_cloudpickle_writes_down_what_has_no_name() -> None:
    read = pickle.loads(cloudpickle.dumps(Holder(jax.jit(lambda x: 5 * x), lambda x: x)))
    assert read.apply(2) == 10 and read.value(3) == 3


def test_a_name_that_now_means_another_function_is_not_used() -> None:
    other = jax.jit(lambda x: x)
    other.__wrapped__.__qualname__ = "jitted"
    object.__setattr__(other, "__qualname__", "jitted")
    assert other.__qualname__ == "jitted" and other is not jitted
    with pytest.raises(pickle.PicklingError, match="under no name"):
        pickle.dumps(Holder(other))


def test_functions_of_main_go_by_name_in_pickle_and_whole_in_cloudpickle() -> None:
    program = """
import sys, pickle, cloudpickle, jax
from pytree_module import Module

class Model(Module):
    activation: object

@jax.jit
def triple(x):
    return 3 * x

assert pickle.loads(pickle.dumps(Model(triple))).activation is triple
sys.stdout.buffer.write(cloudpickle.dumps(Model(triple)))
"""
    dumped = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert pickle.loads(dumped).activation(2) == 6


@each_way
def test_what_is_shared_stays_so_and_caches_stay_behind(way) -> None:
    class Cached(Module):
        a: Any
        b: Any

        @functools.cached_property
        def fun(self):
            return lambda x: x

    Cached.__qualname__ = Cached.__name__
    globals()["Cached"] = Cached
    shared = [1, 2]
    made = Cached(shared, {"again": shared})
    assert made.fun is not None
    read = WAYS[way](made)
    assert read == made and read.a is read.b["again"]
    assert (read.a is shared) == (way == "copy")


@each_way
def test_arrays_and_keys_keep_dtype_and_weak_type(way) -> None:
    arrays = [jnp.asarray(1.0), jnp.ones(2, jnp.bfloat16), jax.random.key(3), np.float16(2)]
    read = WAYS[way](Holder(arrays)).leaf
    for old, new in zip(arrays, read, strict=True):
        assert (old.dtype, type(old)) == (new.dtype, type(new)) and bool(jnp.all(old == new))
    assert read[0].aval.weak_type == arrays[0].aval.weak_type


def test_a_class_may_pickle_itself_in_its_own_way() -> None:
    read = pickle.loads(pickle.dumps(Holder(OwnState(lambda x: x, 1))))
    assert read.leaf == OwnState(None, 1)
    for way in (lambda x: pickle.loads(pickle.dumps(x)), copy.copy, copy.deepcopy):
        assert way(OwnReduce(lambda x: x)).f is None


class OwnState(Module):
    f: Any
    n: int

    def __getstate__(self):
        return {**vars(self), "f": None}


class OwnReduce(Module):
    f: Any

    def __reduce__(self):
        return OwnReduce, (None,)


@pytest.mark.filterwarnings("ignore:.*has no hash")
def test_what_leads_back_to_itself_within_a_static_value_is_carried() -> None:
    loop: list[Any] = [3]
    loop.append(loop)
    read = pickle.loads(pickle.dumps(Holder(0, Config(jax.nn.relu, loop))))
    assert read.value.activation is jax.nn.relu and read.value.size[1] is read.value.size
