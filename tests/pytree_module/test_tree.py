"""Modules as PyTrees: flatten, unflatten, key paths, and instances that hold more than fields."""

import copy
import dataclasses
import functools
import inspect
import linecache
import math
import pickle
import subprocess
import sys
import threading
import weakref

import jax
import jax.numpy as jnp
import pytest

from pytree_module import Module, Partial, Static, field, module_update_wrapper


class Linear(Module):
    weight: jax.Array
    bias: jax.Array | None
    size: int = field(static=True)

    def __init__(self, size: int):
        self.weight = jnp.arange(float(size))
        self.bias = None
        self.size = size


class Net(Module):
    layers: list[Linear]
    table: dict[str, Linear]
    act: object = math.tanh


def net() -> Net:
    return Net([Linear(2), Linear(3)], {"a": Linear(1)})


def test_docstring_is_the_signature_if_there_is_none() -> None:
    class Undocumented(Module):
        x: int
        y: str = "a"

    class Documented(Module):
        """Says so."""

    assert (
        Undocumented.__doc__ == inspect.getdoc(Undocumented) == "Undocumented(x: int, y: str = 'a')"
    )
    assert Documented.__doc__ == "Says so."


def test_key_paths_lead_to_the_leaves() -> None:
    pairs, _ = jax.tree_util.tree_flatten_with_path(net())
    names = [jax.tree_util.keystr(path) for path, _ in pairs]
    assert names == [".layers[0].weight", ".layers[1].weight", ".table['a'].weight", ".act"]
    assert all(
        isinstance(path[0], jax.tree_util.GetAttrKey) and path[0].name in ("layers", "table", "act")
        for path, _ in pairs
    )
    model = net()
    keyed = [leaf for _, leaf in jax.tree_util.tree_leaves_with_path(model)]
    assert all(a is b for a, b in zip(keyed, jax.tree_util.tree_leaves(model), strict=True))


def test_unflatten_keeps_leaves_and_static_values_and_runs_no_init() -> None:
    class Loud(Module):
        x: int
        n: int = field(static=True)

        def __init__(self) -> None:
            self.x = 1
            self.n = 2

        def __check_init__(self) -> None:
            calls.append("check")

    calls: list[str] = []
    loud = Loud()
    mapped = jax.tree_util.tree_map(lambda x: x + 1, loud)
    assert (mapped.x, mapped.n, type(mapped), calls) == (2, 2, Loud, ["check"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        mapped.x = 3


def test_any_object_can_be_a_leaf_after_unflatten() -> None:
    treedef = jax.tree_util.tree_structure(net())
    sentinel = [object() for _ in range(4)]
    rebuilt = jax.tree_util.tree_unflatten(treedef, sentinel)
    assert rebuilt.layers[1].weight is sentinel[1] and rebuilt.act is sentinel[3]


def test_no_fields_all_static_and_one_field() -> None:
    class Empty(Module):
        pass

    class AllStatic(Module):
        a: int = field(static=True, default=1)

    class One(Module):
        a: int = 1

    for made, leaves in ((Empty(), []), (AllStatic(), []), (One(), [1]), (Module(), [])):
        found, treedef = jax.tree_util.tree_flatten(made)
        assert found == leaves
        assert jax.tree_util.tree_unflatten(treedef, found) == made


def test_the_generated_code_can_be_seen_by_a_debugger() -> None:
    class Seen(Module):
        visible: int

    jax.tree_util.tree_flatten(Seen(1))
    name = f"<pytree_module {Seen.__module__}.{Seen.__qualname__}>"
    assert any("visible" in line for line in linecache.getlines(name))


def test_a_value_cached_beside_the_fields_is_left_behind() -> None:
    class Cached(Module):
        a: int

        @functools.cached_property
        def double(self) -> int:
            return 2 * self.a

    cached = Cached(2)
    assert cached.double == 4 and jax.tree_util.tree_leaves(cached) == [2]
    mapped = jax.tree_util.tree_map(lambda x: x + 1, cached)
    assert mapped.double == 6
    assert jax.tree_util.tree_structure(cached) == jax.tree_util.tree_structure(cached)


# Round trips.


def same(a: object, b: object) -> bool:
    return type(a) is type(b) and bool(a == b)


@pytest.mark.parametrize("make", [net, lambda: Linear(3), lambda: Partial(math.sin, 1, k=2)])
def test_pickle_copy_deepcopy_and_weakref(make) -> None:
    made = make()
    assert same(pickle.loads(pickle.dumps(made)), made)
    assert same(copy.copy(made), made)
    assert same(copy.deepcopy(made), made)
    assert weakref.ref(made)() is made
    name = dataclasses.fields(made)[0].name
    for copied in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(copied, name, 1)


def test_deepcopy_copies_and_copy_shares() -> None:
    made = net()
    assert copy.copy(made).layers is made.layers
    assert copy.deepcopy(made).layers is not made.layers


def test_dataclasses_replace_runs_the_constructor() -> None:
    class Pair(Module):
        a: int
        b: float = field(converter=float)

    replaced = dataclasses.replace(Pair(1, 2), b=3)
    assert replaced == Pair(1, 3.0) and isinstance(replaced.b, float)


def test_cloudpickle_of_a_class_of_main() -> None:
    program = """
import sys, cloudpickle, jax
from pytree_module import AbstractVar, Module, field

class AbstractBase(Module):
    a: AbstractVar[int]
    def get(self):
        return self.a

class Child(AbstractBase):
    a: int
    n: int = field(static=True, default=3)
    fn: object = len
    def plus(self, x):
        return self.a + self.n + x + len(self.fn("ab"))
    def __check_init__(self):
        assert self.a > 0

Child(5, fn=str).plus(1)   # classes that have been used carry what was found for them
sys.stdout.buffer.write(cloudpickle.dumps((Child(5, fn=str), Child)))
"""
    dumped = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    child, cls = pickle.loads(dumped)
    assert child.plus(1) == 11 and child.get() == 5
    assert jax.tree_util.tree_leaves(child) == [5, str]
    mapped = jax.tree_util.tree_map(lambda x: x, child)
    assert type(mapped) is cls and mapped == child
    assert cls(2, fn=str).plus(0) == 7
    with pytest.raises(AssertionError):
        cls(-1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        child.a = 3


def test_names_beside_the_fields_survive_a_new_process() -> None:
    program = """
import sys, cloudpickle
from pytree_module import Module, module_update_wrapper

class Wrapper(Module):
    fn: object

    @property
    def __wrapped__(self):
        return self.fn

def named():
    pass

sys.stdout.buffer.write(cloudpickle.dumps(module_update_wrapper(Wrapper(named))))
"""
    dumped = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    loaded = pickle.loads(dumped)
    assert jax.tree_util.tree_map(lambda x: x, loaded).__name__ == loaded.__name__ == "named"


# Wrappers.


class Wrapper(Module):
    fn: object
    flag: bool = field(static=True, default=True)

    @property
    def __wrapped__(self):
        return self.fn

    def __call__(self, *args, **kwargs):
        return self.fn(*args, **kwargs)


def add(x: int, y: int = 2) -> int:
    """Adds."""
    return x + y


def test_update_wrapper_takes_name_doc_and_signature() -> None:
    plain = Wrapper(add)
    wrapped = module_update_wrapper(plain)
    assert (wrapped.__name__, wrapped.__doc__, wrapped.__qualname__) == ("add", "Adds.", "add")
    assert wrapped.__module__ == add.__module__
    assert inspect.signature(wrapped) == inspect.signature(add)
    assert wrapped(1) == 3 and not hasattr(plain, "__name__")


def test_update_wrapper_survives_the_tree_and_is_compared() -> None:
    wrapped = module_update_wrapper(Wrapper(add))
    mapped = jax.tree_util.tree_map(lambda x: x, wrapped)
    assert mapped.__name__ == "add" and mapped == wrapped
    assert wrapped == module_update_wrapper(Wrapper(add)) and wrapped != Wrapper(add)
    assert hash(wrapped) == hash(module_update_wrapper(Wrapper(add)))
    assert pickle.loads(pickle.dumps(wrapped)).__doc__ == "Adds."
    assert copy.deepcopy(wrapped) == wrapped


def test_update_wrapper_of_something_without_a_name() -> None:
    wrapped = module_update_wrapper(Wrapper(functools.partial(add, 1)))
    assert wrapped() == 3 and not hasattr(wrapped, "__name__")
    assert module_update_wrapper(Wrapper(1), add).__name__ == "add"


def test_update_wrapper_of_a_bound_method_takes_the_module_of_its_function() -> None:
    wrapped = module_update_wrapper(Wrapper(Wrapper(add).__call__))
    assert wrapped.__module__ == Wrapper.__call__.__module__ == __name__


def test_update_wrapper_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="must supply `__wrapped__`: `Linear` has none"):
        module_update_wrapper(Linear(2))
    with pytest.raises(TypeError, match="expects a Module"):
        module_update_wrapper(add)  # type: ignore[type-var]


def test_functools_wraps_of_a_module_and_update_wrapper_in_init() -> None:
    wrapped = module_update_wrapper(Wrapper(add))
    assert functools.wraps(wrapped)(lambda *a: 0).__name__ == "add"

    class Updating(Module):
        fn: object
        __wrapped__: object

        def __init__(self, fn: object):
            self.fn = fn
            functools.update_wrapper(self, fn)

    updated = Updating(add)
    assert updated.__name__ == "add" and updated.__doc__ == "Adds."
    assert jax.tree_util.tree_map(lambda x: x, updated).__name__ == "add"


# Static and Partial.


def test_static_hides_a_tree_and_compares_it_by_value() -> None:
    value = {"a": [1, "b"], "c": jnp.ones(2)}
    static = Static(value)
    assert jax.tree_util.tree_leaves(static) == []
    assert static.value["a"] == [1, "b"] and (static.value["c"] == 1).all()
    assert static == Static({"a": [1, "b"], "c": jnp.ones(2)})
    assert static != Static({"a": [1, "b"], "c": jnp.zeros(2)})
    assert hash(static) == hash(Static({"a": [1, "b"], "c": jnp.ones(2)}))
    assert pickle.loads(pickle.dumps(static)) == static


def test_static_goes_through_jit_and_scan() -> None:
    traces = 0

    @jax.jit
    def tag(s: Static, x):
        nonlocal traces
        traces += 1
        return Static((s.value, "seen")), x + 1

    for _ in range(2):
        out, x = tag(Static(["a", {"k": jnp.ones(2)}]), 1)
        assert out.value[1] == "seen" and out.value[0][0] == "a" and x == 2
    assert traces == 1
    carry, _ = jax.lax.scan(lambda c, _: (c, None), Static("flag"), None, length=3)
    assert carry.value == "flag"


def test_partial_traces_function_and_arguments() -> None:
    class Scale(Module):
        by: jax.Array

        def __call__(self, x, y, *, z):
            return self.by * x + y + z

    partial = Partial(Scale(jnp.asarray(2.0)), 3.0, z=1.0)
    assert partial(4.0) == 11.0
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(partial)]
    assert paths == [".func.by", ".args[0]", ".keywords['z']"]
    grads = jax.grad(lambda p: p(4.0))(partial)
    assert (grads.func.by, grads.args, grads.keywords) == (3.0, (2.0,), {"z": 1.0})
    with pytest.raises(TypeError, match="multiple values"):
        partial(4.0, z=2.0)
    assert list(inspect.signature(Partial).parameters) == ["func", "args", "kwargs"]


def test_threads_that_wrap_and_that_flatten_one_new_class() -> None:
    def wrapped():
        "The docstring."

    lost = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(60):

            class Wrapper(Module):
                fn: object

                @property
                def __wrapped__(self):
                    return self.fn

            barrier = threading.Barrier(8)

            def work(wraps, Wrapper=Wrapper, barrier=barrier):
                barrier.wait()
                for _ in range(4):
                    module = Wrapper(wrapped)
                    if wraps:
                        module = module_update_wrapper(module)
                    again = jax.tree.map(lambda leaf: leaf, module)
                    if wraps and again.__dict__.get("__name__") != "wrapped":
                        lost.append(again)

            threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert lost == []
