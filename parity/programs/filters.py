"""Predicates, and trees apart and together."""

import jax
import jax.numpy as jnp
import numpy as np
from registry import program, short

VALUES = {
    "jax": jnp.ones(2),
    "jax_int": jnp.arange(2),
    "jax_bool": jnp.array(True),
    "jax_complex": jnp.ones(2, jnp.complex64),
    "jax_half": jnp.ones(2, jnp.bfloat16),
    "jax_key": jax.random.key(0),
    "numpy": np.ones(2),
    "numpy_int": np.arange(2),
    "numpy_object": np.array([object()]),
    "numpy_string": np.array(["a"]),
    "scalar_float": np.float32(1),
    "scalar_int": np.int8(1),
    "scalar_bool": np.bool_(True),
    "python_float": 1.0,
    "python_int": 1,
    "python_bool": True,
    "python_complex": 1j,
    "none": None,
    "string": "a",
    "list": [1, 2],
    "function": jnp.sin,
    "type": jnp.float32,
    "dtype": np.dtype("float32"),
    "struct": jax.ShapeDtypeStruct((2,), jnp.float32),
    "ellipsis": ...,
}


class HasJaxArray:
    def __jax_array__(self):
        return jnp.ones(2)


class HasArray:
    def __array__(self, dtype=None, copy=None):
        return np.ones(2)


def of_all(which):
    values = VALUES | {"has_jax_array": HasJaxArray(), "has_array": HasArray()}
    return lambda eqx: {name: getattr(eqx, which)(value) for name, value in values.items()}


def traced(which):
    def run(eqx):
        seen = []

        @jax.jit
        def f(x, n):
            seen.extend([getattr(eqx, which)(x), getattr(eqx, which)(n)])
            return x

        f(1.0, 2)
        return seen

    return run


def outcome(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return error


for which in ("is_array", "is_array_like", "is_inexact_array", "is_inexact_array_like"):
    short(which, of_all=of_all(which), traced=traced(which))

TREE = {
    "w": jnp.ones(2),
    "n": np.ones(2),
    "i": jnp.arange(2),
    "s": "text",
    "f": 1.0,
    "none": None,
    "fn": jnp.tanh,
    "nested": [1, (2.0, jnp.zeros(()))],
}


short(
    "filter",
    arrays=lambda eqx: eqx.filter(TREE, eqx.is_array),
    inexact=lambda eqx: eqx.filter(TREE, eqx.is_inexact_array),
    inverse=lambda eqx: eqx.filter(TREE, eqx.is_array, inverse=True),
    replace=lambda eqx: eqx.filter(TREE, eqx.is_array, replace="gone"),
    boolean=lambda eqx: (eqx.filter(TREE, True), eqx.filter(TREE, False)),
    prefix=lambda eqx: eqx.filter([1, {"a": 2, "b": 3}], [True, False]),
    prefix_callable=lambda eqx: eqx.filter([1, {"a": 2, "b": 3.0}], [False, lambda x: x == 2]),
    nested_spec=lambda eqx: eqx.filter([1, {"a": 2, "b": 3}], [False, {"a": True, "b": False}]),
    wrong_spec=lambda eqx: eqx.filter([1, 2], [True]),
    spec_no_bool=lambda eqx: eqx.filter([1, 2], [1, "a"]),
    spec_none=lambda eqx: eqx.filter([1, 2], None),
    spec_array=lambda eqx: eqx.filter([1, 2], jnp.array(True)),
    spec_numpy_bool=lambda eqx: eqx.filter([1, 2], np.bool_(True)),
    callable_returns_no_bool=lambda eqx: eqx.filter([1, 0], lambda x: x),
    callable_returns_array=lambda eqx: eqx.filter([1, 0], lambda x: jnp.array(x > 0)),
    is_leaf=lambda eqx: eqx.filter(
        [(1, 2), 3], lambda x: x == (1, 2), is_leaf=lambda x: x == (1, 2)
    ),
    is_leaf_none=lambda eqx: eqx.filter(
        [None, 3], lambda x: x is not None, replace=0, is_leaf=lambda x: x is None
    ),
    empty=lambda eqx: eqx.filter([], eqx.is_array),
    leaf=lambda eqx: eqx.filter(3, eqx.is_array),
    module=lambda eqx: eqx.filter(eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0)), eqx.is_array),
    module_spec=lambda eqx: eqx.filter(
        (m := eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0))),
        eqx.tree_at(lambda t: t.bias, jax.tree.map(lambda _: False, m), True),
    ),
    keyword=lambda eqx: eqx.filter(pytree=[1, 2], filter_spec=True),
)


short(
    "partition",
    arrays=lambda eqx: eqx.partition(TREE, eqx.is_array),
    replace=lambda eqx: eqx.partition([1, 2.0], lambda x: x == 1, replace="no"),
    is_leaf=lambda eqx: eqx.partition(
        [(1, 2), 3], lambda x: x == 3, is_leaf=lambda x: isinstance(x, tuple)
    ),
    prefix=lambda eqx: eqx.partition({"a": [1, 2], "b": 3}, {"a": True, "b": False}),
    round_trip=lambda eqx: eqx.combine(*eqx.partition(TREE, eqx.is_array)),
    wrong_spec=lambda eqx: eqx.partition({"a": 1}, {"b": True}),
    types=lambda eqx: type(eqx.partition([1], True)).__name__,
    callable_module=lambda eqx: eqx.partition([jnp.ones(2)], eqx.nn.Lambda(eqx.is_array)),
)


short(
    "combine",
    two=lambda eqx: eqx.combine([1, None], [None, 2]),
    first_wins=lambda eqx: eqx.combine([1, None], [3, 2]),
    three=lambda eqx: eqx.combine([None, None], [None, 2], [1, 4]),
    all_none=lambda eqx: eqx.combine([None], [None]),
    one=lambda eqx: eqx.combine([1, None]),
    none_at_all=lambda eqx: eqx.combine(),
    structure=lambda eqx: eqx.combine([1, None], [1]),
    keys=lambda eqx: eqx.combine({"a": 1}, {"b": None}),
    subtree_for_none=lambda eqx: eqx.combine([None], [{"a": 1}]),
    subtree_for_none_second=lambda eqx: eqx.combine([{"a": 1}], [None]),
    is_leaf=lambda eqx: eqx.combine(
        [(1, 2), None], [None, (3,)], is_leaf=lambda x: isinstance(x, tuple)
    ),
    module=lambda eqx: eqx.combine(
        *eqx.partition(eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0)), eqx.is_array)
    ),
)


@program("internal.hashable_partition", "internal.hashable_combine")
def hashable(eqx):
    tree = {"a": jnp.ones(2), "b": "text", "c": (jnp.zeros(()), None)}
    dynamic, static = eqx.internal.hashable_partition(tree, eqx.is_array)
    again = eqx.internal.hashable_partition(dict(tree), eqx.is_array)[1]
    return (
        dynamic,
        hash(static) == hash(again),
        static == again,
        eqx.internal.hashable_combine(dynamic, static),
    )


@program("internal.hashable_partition")
def hashable_of_an_unhashable(eqx):
    return hash(eqx.internal.hashable_partition([{1, 2}], eqx.is_array)[1])


@program("internal.Static")
def static(eqx):
    value = eqx.internal.Static({"a": jnp.ones(2), "b": "x"})
    return jax.tree.leaves(value), value.value, jax.tree.map(lambda x: x, value).value


@program("internal.Static")
def static_of_a_string(eqx):
    one, other = eqx.internal.Static("a"), eqx.internal.Static("a")
    return (
        bool(one == other),
        hash(one) == hash(other),
        jax.tree.structure(one) == jax.tree.structure(other),
    )


short(
    "apply_updates",
    adds=lambda eqx: eqx.apply_updates([jnp.ones(2), 3.0], [jnp.ones(2), 1.0]),
    none_stays=lambda eqx: eqx.apply_updates([1.0, "a", None], [None, None, None]),
    structure=lambda eqx: eqx.apply_updates([1.0], [1.0, 2.0]),
    subtree_none=lambda eqx: eqx.apply_updates([{"a": 1.0}], [None]),
    half=lambda eqx: eqx.apply_updates(jnp.ones(2, jnp.float16), jnp.ones(2, jnp.float16)),
    promotes=lambda eqx: eqx.apply_updates(jnp.ones(2, jnp.float16), jnp.ones(2, jnp.float32)),
    int_float=lambda eqx: eqx.apply_updates(jnp.arange(2), jnp.ones(2)),
    numpy=lambda eqx: eqx.apply_updates(np.ones(2), np.ones(2)),
    python=lambda eqx: eqx.apply_updates(1, 2),
    string=lambda eqx: eqx.apply_updates("a", "b"),
    model=lambda eqx: (
        lambda m: eqx.apply_updates(m, eqx.filter_grad(lambda m: m(jnp.ones(2)).sum())(m))
    )(eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0))),
)


short(
    "tree_inference",
    module=lambda eqx: eqx.tree_inference([eqx.nn.Dropout(), 3], True),
    back=lambda eqx: eqx.tree_inference(eqx.nn.Dropout(inference=True), False),
    positional=lambda eqx: eqx.tree_inference({"a": eqx.nn.Dropout()}),
    nothing=lambda eqx: eqx.tree_inference([1, 2]),
)
short(
    "nn.inference_mode",
    nested=lambda eqx: eqx.nn.inference_mode(
        eqx.nn.Sequential([eqx.nn.Dropout(), eqx.nn.Sequential([eqx.nn.Dropout(0.1)])])
    ),
    back=lambda eqx: eqx.nn.inference_mode(eqx.nn.Dropout(inference=True), value=False),
    attention=lambda eqx: (
        eqx.nn.inference_mode(
            eqx.nn.MultiheadAttention(1, 2, key=jax.random.PRNGKey(0))
        ).dropout.inference
    ),
    own_module=lambda eqx: eqx.nn.inference_mode(flagged(eqx)(False, eqx.nn.Dropout())),
)


def flagged(eqx):
    class Flagged(eqx.Module):
        inference: bool
        inner: object

    return Flagged
