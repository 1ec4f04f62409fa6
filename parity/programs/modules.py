"""Modules: how they are declared, made, compared, printed and copied."""

import abc
import collections.abc
import copy
import dataclasses
import inspect
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from registry import short


def pair(eqx):
    class Pair(eqx.Module):
        a: Any
        b: Any = 2

        def total(self, scale=1):
            return scale * (self.a + self.b)

    return Pair


def linear(eqx):
    class Linear(eqx.Module):
        weight: jax.Array
        bias: Any
        name: str = eqx.field(static=True, default="linear")

        def __call__(self, x):
            return self.weight @ x + self.bias

    return Linear


short(
    "Module",
    positional=lambda eqx: pair(eqx)(1, 3),
    by_keyword=lambda eqx: pair(eqx)(b=1, a=3),
    default=lambda eqx: pair(eqx)(1),
    too_few=lambda eqx: pair(eqx)(),
    too_many=lambda eqx: pair(eqx)(1, 2, 3),
    unknown_keyword=lambda eqx: pair(eqx)(1, c=3),
    leaves=lambda eqx: jax.tree.leaves(pair(eqx)(1, [2, None, {"x": 3}])),
    paths=lambda eqx: [
        jax.tree_util.keystr(p)
        for p, _ in jax.tree_util.tree_flatten_with_path(pair(eqx)(1, [2, {"x": 3}]))[0]
    ],
    key_types=lambda eqx: [
        [type(k).__name__ for k in p]
        for p, _ in jax.tree_util.tree_flatten_with_path(pair(eqx)(1, [2, {"x": 3}]))[0]
    ],
    repr=lambda eqx: repr(linear(eqx)(jnp.ones((2, 3)), None)),
    repr_nested=lambda eqx: repr(pair(eqx)(pair(eqx)(np.ones(3), "s"), [jnp.ones(2), jnp.sin])),
    repr_long=lambda eqx: repr(pair(eqx)({f"key{i}": jnp.ones(i) for i in range(20)}, None)),
    str=lambda eqx: str(pair(eqx)(jnp.arange(3), 1)),
    format=lambda eqx: f"{pair(eqx)(1, 2)} {pair(eqx)(1, 2)!r}",
    equal=lambda eqx: pair(eqx)(1, 2) == pair(eqx)(1, 2),
    equal_same_class=lambda eqx: (lambda P: P(1, 2) == P(1, 2))(pair(eqx)),
    unequal_same_class=lambda eqx: (lambda P: P(1, 2) == P(1, 3))(pair(eqx)),
    equal_int_float=lambda eqx: (lambda P: P(1, 2) == P(1.0, 2))(pair(eqx)),
    equal_other_type=lambda eqx: pair(eqx)(1, 2) == (1, 2),
    equal_arrays=lambda eqx: bool((lambda P: P(jnp.ones(2)) == P(jnp.ones(2)))(pair(eqx))),
    equal_arrays_dtype=lambda eqx: bool(
        (lambda P: P(jnp.ones(2)) == P(jnp.ones(2, int)))(pair(eqx))
    ),
    equal_arrays_shape=lambda eqx: bool((lambda P: P(jnp.ones(2)) == P(jnp.ones(3)))(pair(eqx))),
    equal_arrays_values=lambda eqx: bool((lambda P: P(jnp.ones(2)) != P(jnp.zeros(2)))(pair(eqx))),
    equal_jax_numpy=lambda eqx: bool((lambda P: P(jnp.ones(2)) == P(np.ones(2, "f4")))(pair(eqx))),
    hash_equal=lambda eqx: (lambda P: hash(P(1, 2)) == hash(P(1, 2)))(pair(eqx)),
    hash_array=lambda eqx: hash(pair(eqx)(jnp.ones(2))),
    hash_list=lambda eqx: isinstance(hash(pair(eqx)([1, 2], {"a": 1})), int),
    in_a_set=lambda eqx: (lambda P: len({P(1), P(1), P(2)}))(pair(eqx)),
    order=lambda eqx: pair(eqx)(1) < pair(eqx)(2),
    truth=lambda eqx: bool(pair(eqx)(0)),
    length=lambda eqx: len(pair(eqx)(0)),
    iterate=lambda eqx: list(pair(eqx)(0)),
    is_dataclass=lambda eqx: dataclasses.is_dataclass(pair(eqx)),
    dataclass_fields=lambda eqx: [
        (f.name, f.default is dataclasses.MISSING, f.init) for f in dataclasses.fields(pair(eqx))
    ],
    field_types=lambda eqx: [str(f.type) for f in dataclasses.fields(linear(eqx))],
    asdict=lambda eqx: dataclasses.asdict(pair(eqx)(1, pair(eqx)(2))),
    astuple=lambda eqx: dataclasses.astuple(pair(eqx)(1, [2])),
    replace=lambda eqx: dataclasses.replace(pair(eqx)(1), b=5),
    replace_unknown=lambda eqx: dataclasses.replace(pair(eqx)(1), c=5),
    match_args=lambda eqx: pair(eqx).__match_args__,
    signature=lambda eqx: str(inspect.signature(linear(eqx))),
    signature_call=lambda eqx: str(inspect.signature(linear(eqx)(jnp.ones((1, 1)), 0))),
    annotations=lambda eqx: list(linear(eqx).__annotations__),
    assign=lambda eqx: setattr(pair(eqx)(1), "a", 2),
    assign_new=lambda eqx: setattr(pair(eqx)(1), "c", 2),
    assign_method=lambda eqx: setattr(pair(eqx)(1), "total", 2),
    object_setattr=lambda eqx: (
        lambda m: (object.__setattr__(m, "a", 5), m.a, jax.tree.leaves(m))[1:]
    )(pair(eqx)(1)),
    class_attribute=lambda eqx: (lambda P: (setattr(P, "extra", 5), P(1).extra)[1])(pair(eqx)),
    copy=lambda eqx: copy.copy(pair(eqx)(1, [2])),
    deepcopy=lambda eqx: copy.deepcopy(pair(eqx)(jnp.ones(2), [2])),
    copy_shares=lambda eqx: (lambda m: copy.copy(m).b is m.b)(pair(eqx)(1, [2])),
    weakref=lambda eqx: (lambda m: weakref.ref(m)() is m)(pair(eqx)(1)),
    vars=lambda eqx: vars(pair(eqx)(1, 3)),
    dir=lambda eqx: [n for n in dir(pair(eqx)(1)) if not n.startswith("_")],
    unflatten_anything=lambda eqx: (lambda td: td.unflatten([object, None]).a is object)(
        jax.tree.structure(pair(eqx)(1, 2))
    ),
    tree_map=lambda eqx: jax.tree.map(lambda x: x + 1, pair(eqx)(1, (2, 3))),
    tree_map_two=lambda eqx: (lambda P: jax.tree.map(lambda x, y: x + y, P(1, 2), P(3, 4)))(
        pair(eqx)
    ),
    tree_map_two_classes=lambda eqx: jax.tree.map(
        lambda x, y: x + y, pair(eqx)(1, 2), pair(eqx)(3, 4)
    ),
    structure_static=lambda eqx: (
        lambda L: jax.tree.structure(L(1, 2, "a")) == jax.tree.structure(L(1, 2, "b"))
    )(linear(eqx)),
    structure_repr=lambda eqx: "Pair" in str(jax.tree.structure(pair(eqx)(1, 2))),
    jit=lambda eqx: jax.jit(lambda m, x: m(x))(linear(eqx)(jnp.ones((2, 3)), 1.0), jnp.arange(3.0)),
    grad=lambda eqx: jax.grad(lambda m: m(jnp.arange(3.0)).sum())(
        linear(eqx)(jnp.ones((2, 3)), 1.0)
    ),
    vmap=lambda eqx: jax.vmap(lambda i: pair(eqx)(i, i + 1))(jnp.arange(3)),
    vmap_in_axes_module=lambda eqx: (
        lambda P: jax.vmap(lambda m, x: m.a + m.b + x, in_axes=(P(0, None), None))(
            P(jnp.arange(3), 5), 1
        )
    )(pair(eqx)),
    scan_carry=lambda eqx: jax.lax.scan(
        lambda m, x: (jax.tree.map(lambda v: v + x, m), m.a),
        pair(eqx)(jnp.array(0.0), jnp.array(1.0)),
        jnp.arange(3.0),
    ),
    hashable=lambda eqx: isinstance(pair(eqx)(1), collections.abc.Hashable),
    metaclass=lambda eqx: issubclass(type(pair(eqx)), abc.ABCMeta),
    bare=lambda eqx: eqx.Module(),
    bare_equal=lambda eqx: eqx.Module() == eqx.Module(),
    isinstance=lambda eqx: isinstance(pair(eqx)(1), eqx.Module),
    doc=lambda eqx: pair(eqx).__doc__,
    module_name=lambda eqx: (pair(eqx).__module__.rpartition(".")[2], pair(eqx).__qualname__),
)

short("internal.Static", of_a_type=lambda eqx: eqx.internal.Static[int](3).value)
short("nn.StateIndex", of_a_type=lambda eqx: eqx.nn.StateIndex[int](3).init)
short(
    "nn.WeightNorm",
    of_a_type=lambda eqx: eqx.nn.WeightNorm[int](eqx.nn.Linear(2, 2, key=jax.random.PRNGKey(0)))(
        jnp.ones(2)
    ),
)
short(
    "internal.AbstractProgressMeter",
    of_a_type=lambda eqx: (
        issubclass(eqx.internal.NoProgressMeter, eqx.internal.AbstractProgressMeter)
        and eqx.internal.AbstractProgressMeter[int] is not None
    ),
)
