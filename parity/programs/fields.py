"""Fields: converters, static ones, metadata."""

import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from registry import program, short


def one(eqx, annotation=Any, **options):
    class One(eqx.Module):
        x: annotation = eqx.field(**options)

    return One


short(
    "field",
    plain=lambda eqx: one(eqx)(1),
    converter=lambda eqx: one(eqx, converter=jnp.asarray)([1, 2]),
    converter_and_default=lambda eqx: one(eqx, converter=float, default=3)(),
    converter_and_factory=lambda eqx: one(eqx, converter=tuple, default_factory=list)(),
    converter_raises=lambda eqx: one(eqx, converter=int)("word"),
    converter_none=lambda eqx: one(eqx, converter=None)(1),
    static=lambda eqx: (one(eqx, static=True)("a"), jax.tree.leaves(one(eqx, static=True)("a"))),
    static_converter=lambda eqx: one(eqx, static=True, converter=tuple)([1, 2]),
    static_jax=lambda eqx: type(one(eqx, static=True)(jnp.ones(2))).__name__,
    static_numpy=lambda eqx: type(one(eqx, static=True)(np.ones(2))).__name__,
    static_list=lambda eqx: one(eqx, static=True)([1, 2]),
    static_function=lambda eqx: one(eqx, static=True)(jnp.sin).x is jnp.sin,
    static_equal=lambda eqx: (lambda One: One("a") == One("a"))(one(eqx, static=True)),
    static_unequal=lambda eqx: (lambda One: One("a") == One("b"))(one(eqx, static=True)),
    metadata=lambda eqx: dict(dataclasses.fields(one(eqx, metadata={"unit": "m"}))[0].metadata),
    metadata_static=lambda eqx: dict(
        dataclasses.fields(one(eqx, static=True, metadata={"unit": "m"}))[0].metadata
    ),
    metadata_keys=lambda eqx: sorted(
        dataclasses.fields(one(eqx, static=True, converter=int))[0].metadata
    ),
    metadata_clash=lambda eqx: one(eqx, static=True, metadata={"static": False}),
    metadata_clash_converter=lambda eqx: one(eqx, converter=int, metadata={"converter": str}),
    repr_false=lambda eqx: repr(one(eqx, repr=False)(1)),
    init_false_default=lambda eqx: one(eqx, init=False, default=4)(),
    init_false_given=lambda eqx: one(eqx, init=False, default=4)(5),
    kw_only=lambda eqx: one(eqx, kw_only=True)(1),
    both_defaults=lambda eqx: one(eqx, default=1, default_factory=list),
    unknown=lambda eqx: one(eqx, nonsense=1),
    compare_false=lambda eqx: (lambda One: One(1) == One(2))(one(eqx, compare=False)),
    hash_false=lambda eqx: (lambda One: hash(One(1)) == hash(One(1)))(one(eqx, hash=False)),
    signature=lambda eqx: str(inspect.signature(one(eqx, converter=float, default=1))),
    positional=lambda eqx: eqx.field(3),
    type=lambda eqx: type(eqx.field()).__name__,
)


@program("field")
def converter_runs_on_own_init(eqx):
    class A(eqx.Module):
        x: Any = eqx.field(converter=float)

        def __init__(self, x):
            self.x = x

    return A(1)


@program("field")
def converter_during_own_init(eqx):
    seen = []

    class A(eqx.Module):
        x: Any = eqx.field(converter=float)

        def __init__(self, x):
            self.x = x
            seen.append(type(self.x).__name__)

    A(1)
    return seen


@program("field")
def converter_before_post_init(eqx):
    seen = []

    class A(eqx.Module):
        x: Any = eqx.field(converter=float)

        def __post_init__(self):
            seen.append(type(self.x).__name__)
            self.x = 7

    return A(1), seen


@program("field")
def converter_counts(eqx):
    calls = []

    def convert(x):
        calls.append(x)
        return x

    class A(eqx.Module):
        x: Any = eqx.field(converter=convert)

    jax.tree.map(lambda x: x, A(1))
    dataclasses.replace(A(1), x=2)
    return calls


@program("field")
def converter_of_a_base(eqx):
    class A(eqx.Module):
        x: Any = eqx.field(converter=float)

    class B(A):
        y: Any = eqx.field(converter=str)

    class C(B):
        x: Any

    return B(1, 2), C(1, 2)


@program("field")
def converter_that_changes_the_annotation(eqx):
    def convert(x: str) -> int:
        return int(x)

    class A(eqx.Module):
        x: int = eqx.field(converter=convert)

    return A("3"), str(inspect.signature(A)), str(A.__init__.__annotations__["x"])


@program("field")
def converter_skipped_on_unflatten(eqx):
    class A(eqx.Module):
        x: Any = eqx.field(converter=jnp.asarray)

    return jax.tree.map(lambda x: "word", A(1))


@program("Module")
def dataclasses_field_static(eqx):
    class A(eqx.Module):
        x: Any = dataclasses.field(metadata={"static": True})

    return jax.tree.leaves(A(1)), A(1)


@program("field")
def static_unhashable_under_jit(eqx):
    model = one(eqx, static=True)((1, 2))
    return jax.jit(lambda m: jnp.array(sum(m.x)))(model)


@program("field")
def static_changes_recompile(eqx):
    One = one(eqx, static=True)
    traces = []

    @jax.jit
    def f(m):
        traces.append(m.x)
        return jnp.zeros(())

    for x in (1, 1, 2, 1):
        f(One(x))
    return traces


@program("static_field")
def static_field(eqx):
    class A(eqx.Module):
        x: Any = eqx.static_field()
        y: Any = eqx.static_field(default=3)

    return A(1), jax.tree.leaves(A(1))


@program("static_field")
def static_field_metadata(eqx):
    return dict(eqx.static_field(metadata={"a": 1}).metadata)


@program("field")
def static_module(eqx):
    Inner = one(eqx)
    outer = one(eqx, static=True)(Inner(3))
    return outer, jax.tree.leaves(outer), isinstance(hash(outer), int)


@program("field")
def static_in_the_middle(eqx):
    class A(eqx.Module):
        a: Any
        s: Any = eqx.field(static=True)
        b: Any

    return jax.tree.map(lambda x: x * 2, A(1, "s", 3))
