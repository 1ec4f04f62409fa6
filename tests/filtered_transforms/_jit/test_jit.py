"""`filter_jit`: what is traced, what is static, when it compiles, and what it is as an object."""

import abc
import copy
import functools
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import filtered_transforms as ft
from pytree_module import Module, Partial

X = jnp.arange(3.0)


class Counter:
    """Counts the traces of the functions that call it."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> None:
        self.n += 1


class Scale(Module):
    weight: jax.Array
    name: str = "scale"

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x

    def named(self, x: jax.Array) -> tuple[jax.Array, str]:
        return self.weight * x, self.name


TRACED = {
    "jax": X,
    "numpy": np.ones(2),
    "numpy scalar": np.float32(2),
    "bool": jnp.array(True),
    "key": jax.random.key(0),
}
STATIC = {
    "int": 1,
    "float": 1.0,
    "bool": True,
    "complex": 1j,
    "None": None,
    "str": "a",
    "function": len,
    "shape": jax.ShapeDtypeStruct((2,), jnp.float32),
}


@ft.filter_jit
def identity(x: Any) -> Any:
    return x, isinstance(x, jax.core.Tracer)


@pytest.mark.parametrize("name", TRACED)
def test_arrays_are_traced(name: str):
    out, traced = identity(TRACED[name])
    assert traced and isinstance(out, jax.Array)
    assert out.dtype == jnp.asarray(TRACED[name]).dtype and bool((out == TRACED[name]).all())


@pytest.mark.parametrize("name", STATIC)
def test_everything_else_is_static(name: str):
    out, traced = identity(STATIC[name])
    assert out is STATIC[name] and not traced


def test_static_values_that_are_equal_but_not_the_same():
    # 1 == 1.0 == True and 0.0 == -0.0: each compiles for itself, and comes back as it went in.
    for x in (1, 1.0, True, 0, 0.0, -0.0, False, complex(1, 0.0), complex(1, -0.0)):
        out, _ = identity(x)
        assert repr(out) == repr(x)


def test_nan_is_one_static_value():
    count = Counter()

    @ft.filter_jit
    def f(x: float) -> float:
        count()
        return x

    f(float("nan")), f(float("nan")), f(1.0), f(1.0)
    assert count.n == 2


scalars = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=2),
    st.none(),
    st.sampled_from([len, jnp.tanh, X, np.ones(2), np.float32(1.5)]),
)
trees = st.recursive(
    scalars,
    lambda t: st.one_of(
        st.lists(t, max_size=3), st.dictionaries(st.text(max_size=1), t), st.builds(Scale, t, t)
    ),
    max_leaves=6,
)


@given(trees)
def test_any_mixture_goes_through_unchanged(tree: Any):
    out = ft.filter_jit(lambda x: x)(tree)
    leaves, treedef = jax.tree.flatten(tree)
    out_leaves, out_treedef = jax.tree.flatten(out)
    assert treedef == out_treedef
    for x, y in zip(leaves, out_leaves, strict=True):
        if ft.is_array(x):
            np.testing.assert_array_equal(x, y)
        else:
            assert type(x) is type(y) and (x is y or repr(x) == repr(y))


def test_outputs_may_be_anything():
    out = ft.filter_jit(lambda x: (x, {"a": [np.ones(2), 1, "s"]}, None, {1, 2}, jnp.float32))(X)
    assert out[1]["a"][1:] == [1, "s"] and out[2] is None and out[3] == {1, 2}
    assert isinstance(out[1]["a"][0], jax.Array) and out[4] is jnp.float32


class Uncomparable:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = object.__hash__


@pytest.mark.parametrize("value", [Uncomparable(), {1: 2}.keys(), [].append])
def test_outputs_are_never_compared(value: Any):
    f = ft.filter_jit(lambda x: (x, value))
    assert f(X)[1] is value and f(jnp.ones(2))[1] is value
    assert ft.filter_jit(lambda x: f(x))(X)[1] is value


def test_static_output_belongs_to_its_own_shape():
    f = ft.filter_jit(lambda x: x.shape)
    assert [f(jnp.ones(n)) for n in (1, 2, 1, 2)] == [(1,), (2,), (1,), (2,)]


# --- when it compiles


def test_trace_counts():
    count = Counter()

    @ft.filter_jit
    def f(model: Scale, x: Any, flag: Any = None) -> Any:
        count()
        return model(x)

    f(Scale(X), X), f(Scale(X + 1), X + 1), f(Scale(np.ones(3, np.float32)), X)
    assert count.n == 1
    f(Scale(X, "other"), X)
    assert count.n == 2
    f(Scale(X), X, 1), f(Scale(X), X, 1), f(Scale(X), X, 1.0)
    assert count.n == 4
    f(Scale(X), X, flag=1), f(Scale(X), X, flag=1)
    assert count.n == 5
    f(Scale(jnp.ones(2)), jnp.ones(2))
    assert count.n == 6


def test_weak_types_and_x64_are_as_in_jax():
    count = Counter()

    @ft.filter_jit
    def f(x: Any) -> Any:
        count()
        return x * 2

    weak = jnp.asarray(1.0)
    for x in (weak, jnp.float32(1), weak):
        assert f(x).weak_type == jax.jit(lambda x: x * 2)(x).weak_type
    assert count.n == 2
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        assert f(np.float64(1)).dtype == np.float64
    assert count.n == 3


def test_wrapping_a_function_twice_compiles_once():
    count = Counter()

    def f(x: Any) -> Any:
        count()
        return x

    for _ in range(3):
        ft.filter_jit(f)(X)
    assert count.n == 1
    assert ft.filter_jit(f) == ft.filter_jit(f) != ft.filter_jit(f, donate="all")
    assert hash(ft.filter_jit(f)) == hash(ft.filter_jit(f))


# https://github.com/patrick-kidger/equinox/issues/268
# https://github.com/patrick-kidger/equinox/issues/291
# https://github.com/patrick-kidger/equinox/issues/686
def test_methods_of_equal_modules_compile_once():
    count = Counter()

    class Counted(Module):
        weight: jax.Array

        def plain(self, x: jax.Array) -> jax.Array:
            count()
            return self.weight * x

        @ft.filter_jit
        def jitted(self, x: jax.Array) -> jax.Array:
            count()
            return self.weight * x

    assert Counted(X).plain == Counted(X).plain and Counted(X).jitted == Counted(X).jitted
    assert hash(Counted(X).jitted) == hash(Counted(X).jitted)
    for i in range(3):
        np.testing.assert_array_equal(ft.filter_jit(Counted(X + i).plain)(X), (X + i) * X)
    assert count.n == 1
    for i in range(3):
        np.testing.assert_array_equal(Counted(X + i).jitted(X), (X + i) * X)
    assert count.n == 2
    for i in range(3):
        ft.filter_jit(lambda g, x: g(x))  # a new function: never called, costs nothing
        ft.filter_jit(Partial(Counted(X + i).plain))(X)
    assert count.n == 3


def scaled(x: jax.Array, factor: Any = 2) -> jax.Array:
    return x * factor


with_jvp, other_jvp = jax.custom_jvp(scaled), jax.custom_jvp(lambda x: x + 3)
with_jvp.defjvps(lambda tangent, out, x: 2 * tangent)
other_jvp.defjvps(lambda tangent, out, x: tangent)


@ft.filter_custom_vjp
def with_rule(x: jax.Array) -> jax.Array:
    return 2 * x


with_rule.def_fwd(lambda perturbed, x: (2 * x, None))
with_rule.def_bwd(lambda residuals, g, perturbed, x: 2 * g)

# What a model may hold, and whether `pickle` takes it.
HELD: dict[str, tuple[Any, bool]] = {
    "a function": (scaled, True),
    "an activation": (jax.nn.relu, False),
    "a jitted function of JAX's": (jnp.tanh, False),
    "jit": (jax.jit(scaled), False),
    "custom_jvp": (with_jvp, False),
    "partial": (functools.partial(scaled, factor=3), True),
    "partial of an activation": (functools.partial(jax.nn.gelu, approximate=False), False),
    "Partial": (Partial(scaled, factor=3), True),
    "filter_jit": (ft.filter_jit(scaled), True),
    "filter_grad": (ft.filter_grad(scaled), True),
    "filter_vmap": (ft.filter_vmap(scaled), True),
    "filter_pmap": (ft.filter_pmap(scaled), True),
    "filter_checkpoint": (ft.filter_checkpoint(scaled), True),
    "filter_custom_vjp": (with_rule, True),
    "noinline": (ft.extend.noinline(scaled), True),
    "dtype": (jnp.float32, True),
    "a method": (Scale(X).named, True),
}


@pytest.mark.parametrize("name", HELD)
def test_a_copied_or_pickled_model_is_traced_no_more(name: str):
    held, can_be_pickled = HELD[name]
    count = Counter()

    @ft.filter_jit
    def f(model: Scale, x: jax.Array) -> Any:
        count()
        return x

    model = Scale(X, held)
    f(model, X)
    copies = [copy.copy(model), copy.deepcopy(model), copy.deepcopy(copy.deepcopy(model))]
    if can_be_pickled:
        copies.append(pickle.loads(pickle.dumps(model)))
    for each in copies:
        f(each, X), f(each, X)
    assert count.n == 1


def test_what_is_no_copy_is_traced_for_itself():
    count = Counter()

    @ft.filter_jit
    def f(model: Any) -> Any:
        count()
        return model(jnp.ones(3))

    different: list[Any] = [
        functools.partial(scaled, factor=1),
        functools.partial(scaled, factor=1.0),
        functools.partial(scaled, factor=np.float32(1)),
        functools.partial(scaled, factor=jnp.float32(1)),
        functools.partial(lambda x, factor: x - factor, factor=1),
        functools.partial(jnp.add, 1.0),
        jax.jit(scaled),
        jax.jit(scaled, inline=True),
        jax.jit(lambda x: x + 1),
        with_jvp,
        other_jvp,
    ]
    for g in (*different, *different):
        np.testing.assert_array_equal(f(g), g(jnp.ones(3)))
    assert count.n == len(different)


def test_clear_caches():
    count = Counter()

    @ft.filter_jit
    def f(x: Any) -> Any:
        count()
        return x

    f(X), ft.clear_caches(), f(X)
    assert count.n == 2
    jax.clear_caches(), f(X)
    assert count.n == 3


# --- callables of all kinds


def test_kinds_of_callables():
    def f(x: Any, y: Any = 2.0) -> Any:
        return x * y

    doubled = [
        ft.filter_jit(f),
        ft.filter_jit()(f),
        ft.filter_jit(donate="none")(f),
        ft.filter_jit(functools.partial(f, y=2.0)),
        ft.filter_jit(jax.tree_util.Partial(f, y=2.0)),
        ft.filter_jit(Partial(f, y=jnp.array(2.0))),
        ft.filter_jit(Scale(jnp.full(3, 2.0))),
        ft.filter_jit(Scale(jnp.full(3, 2.0)).__call__),
        ft.filter_jit(ft.filter_jit(f)),
        ft.filter_jit(jax.jit(lambda x: x * 2)),
        ft.filter_jit(jax.vmap(f)),
        ft.filter_jit(ft.filter_vmap(f)),
    ]
    for g in doubled:
        for _ in range(2):
            np.testing.assert_array_equal(g(X), 2 * X)
    assert ft.filter_jit(max)(1, 2) == 2


def test_arrays_of_a_callable_are_traced():
    out = ft.filter_jit(Partial(lambda w, x: isinstance(w, jax.core.Tracer), X))(X)
    assert out is True


def test_methods():
    class M(Module):
        w: jax.Array

        @ft.filter_jit
        def method(self, x: jax.Array) -> jax.Array:
            "Scales."
            return self.w * x

        @ft.filter_jit
        def __call__(self, x: jax.Array) -> jax.Array:
            return self.w * x

        @classmethod
        @ft.filter_jit
        def of_class(cls, x: jax.Array) -> tuple[jax.Array, type]:
            return x, cls

        @ft.filter_jit
        @classmethod
        def of_class_inside(cls, x: jax.Array) -> tuple[jax.Array, type]:
            return x, cls

        @staticmethod
        @ft.filter_jit
        def static(x: jax.Array) -> jax.Array:
            return x

        @ft.filter_jit
        @staticmethod
        def static_inside(x: jax.Array) -> jax.Array:
            return x

        @property
        @ft.filter_jit
        def prop(self) -> jax.Array:
            return self.w * 2

    m = M(X)
    for y in (m.method(X), M.method(m, X), m(X), m.method(x=X), jax.jit(m.method)(X)):
        np.testing.assert_array_equal(y, X * X)
    for owner in (m, M):
        assert owner.of_class(X)[1] is owner.of_class_inside(X)[1] is M
        assert bool((owner.static(X) == owner.static_inside(X)).all())
    np.testing.assert_array_equal(m.prop, 2 * X)
    assert m.method.__name__ == "method" and m.method.__doc__ == "Scales."
    assert str(inspect.signature(m.method)).startswith("(x")
    assert jax.tree.leaves(m.method)[1] is m.w
    np.testing.assert_array_equal(ft.filter_jit(lambda f, x: f(x))(m.method, X), X * X)


def test_abstract_methods_stay_abstract():
    class Abstract(Module):
        @ft.filter_jit
        @abc.abstractmethod
        def f(self) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Abstract()


def documented(x: int, *, y: float = 2) -> None:
    "Some text."


@pytest.mark.parametrize("transform", [ft.filter_jit, ft.filter_grad, ft.filter_vmap])
def test_wrappers_are_named_as_what_they_wrap(transform: Callable[..., Any]):
    f = transform(documented)
    assert f.__name__ == f.__qualname__ == "documented" and f.__doc__ == "Some text."
    assert f.__module__ == __name__ and f.__wrapped__ is documented
    assert inspect.signature(f) == inspect.signature(documented)
    assert isinstance(f, Module) and f == transform(documented) and "documented" in repr(f)
    assert functools.wraps(f)(lambda: None).__name__ == "documented"
    # as an argument of another transformation
    ft.filter_jit(lambda g: None)(f), jax.tree.map(lambda x: x, f)


# https://github.com/patrick-kidger/equinox/issues/206
# https://github.com/patrick-kidger/equinox/issues/377
@pytest.mark.parametrize("transform", [ft.filter_jit, ft.filter_grad, ft.filter_vmap])
def test_parameters_stay_visible_through_a_wrapper(transform: Callable[..., Any]):
    class Holder(Module):
        f: Any

    holder = Holder(transform(Scale(X)))
    assert any(leaf is holder.f.fun.weight for leaf in jax.tree.leaves(holder))


# --- with other transformations


def test_inside_other_transformations():
    f = ft.filter_jit(lambda x, power, name: (x**power, name))

    def value(x: jax.Array) -> jax.Array:
        return f(x, 2, "square")[0].sum()

    np.testing.assert_array_equal(jax.grad(value)(X), 2 * X)
    np.testing.assert_array_equal(jax.vmap(lambda x: f(x, 2, "s")[0])(X), X**2)
    np.testing.assert_array_equal(jax.jit(lambda x: f(x, 2, "s")[0])(X), X**2)
    np.testing.assert_array_equal(jax.hessian(value)(X), 2 * jnp.eye(3))
    carry, _ = jax.lax.scan(lambda c, _: (f(c, 2, "s")[0], None), X, None, length=2)
    np.testing.assert_array_equal(carry, X**4)
    assert ft.filter_eval_shape(f, X, 2, "s") == (jax.ShapeDtypeStruct((3,), jnp.float32), "s")
    with jax.disable_jit():
        assert f(X, 2, "s")[1] == "s"
    _, pullback = jax.vjp(value, X)
    np.testing.assert_array_equal(pullback(jnp.array(1.0))[0], 2 * X)


# https://github.com/patrick-kidger/equinox/issues/988
@pytest.mark.parametrize("inline", [False, True])
def test_nested_jit_in_scan_in_eval_shape(inline: bool):
    inner = ft.filter_jit(lambda x: (x + 1, "static"), inline=inline)

    @ft.filter_jit
    def outer(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (inner(c)[0], None), x, None, length=2)[0]

    assert ft.filter_eval_shape(outer, X) == jax.ShapeDtypeStruct((3,), jnp.float32)
    np.testing.assert_array_equal(outer(X), X + 2)


def test_inside_and_around_shard_map():
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("i")
    x = jnp.arange(4.0)

    @ft.filter_jit
    def scaled(scale: Scale, x: jax.Array, name: str) -> tuple[jax.Array, str]:
        return x * scale.weight + jax.lax.psum(x.sum(), "i"), name

    scale = Scale(jnp.array(3.0))

    def value(scale: Scale, x: jax.Array) -> jax.Array:
        def block(weight: jax.Array, x: jax.Array) -> jax.Array:
            out, name = scaled(Scale(weight), x, "s")
            assert name == "s"
            return out

        specs = jax.sharding.PartitionSpec(), spec
        shards = jax.shard_map(block, mesh=mesh, in_specs=specs, out_specs=spec)
        return shards(scale.weight, x)

    expected = 3 * x + x.sum()
    for f in (value, ft.filter_jit(value)):
        np.testing.assert_array_equal(f(scale, x), expected)
        gradient = ft.filter_grad(lambda scale, f=f: f(scale, x).sum())(scale)
        np.testing.assert_array_equal(gradient.weight, x.sum())


def test_sharded_arguments():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("d",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    x = jax.device_put(jnp.arange(4.0), sharding)
    out, name = ft.filter_jit(lambda x, name: (x + 1, name))(x, "n")
    assert out.sharding.is_equivalent_to(sharding, 1) and name == "n"


# --- errors


def test_unhashable_static_leaf_is_named():
    for error in (TypeError, ValueError):
        with pytest.raises(error, match=r"set at args\[0\]\['a'\]\[1\]"):
            identity({"a": [X, {1}]})
    with pytest.raises(TypeError, match=r"set at kwargs\['x'\]\.name"):
        identity(x=Scale(X, {1}))
    with pytest.raises(TypeError, match="set at the function itself"):
        ft.filter_jit(Partial(lambda s: s, {1}))()


def test_wrong_arguments():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        identity()
    with pytest.raises(TypeError, match="expects a function, got a int"):
        ft.filter_jit(3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'foo'"):
        ft.filter_jit(len, foo=True)
    for name in ("static_argnums", "static_argnames", "donate_argnums", "in_shardings"):
        with pytest.raises(ValueError, match=name):
            ft.filter_jit(len, **{name: 0})
    with pytest.raises(ZeroDivisionError):
        ft.filter_jit(lambda x: 1 // 0)(X)
    assert identity(X)[1]  # still works


# https://github.com/patrick-kidger/equinox/commit/14234c9
def test_options_of_jax_jit():
    options = {"xla_cpu_enable_fast_math": True}
    f = ft.filter_jit(lambda x, s: (x + 1, s), compiler_options=options, keep_unused=True)
    assert f(X, "s")[1] == "s"
    assert f == ft.filter_jit(f.fun, keep_unused=True, compiler_options=dict(options))


# --- ahead of time


# https://github.com/patrick-kidger/equinox/issues/325
# https://github.com/patrick-kidger/equinox/issues/625
def test_lower_and_compile():
    @ft.filter_jit
    def f(model: Scale, x: jax.Array, *, n: int = 1, y: Any = None) -> Any:
        return model(x) * n, n

    lowered = f.lower(Scale(X), X, n=2)
    assert "stablehlo" in lowered.as_text() or "mhlo" in lowered.as_text()
    assert lowered.out_info == (jax.ShapeDtypeStruct((3,), jnp.float32), 2)
    compiled = lowered.compile()
    out, n = compiled(Scale(X + 1), X, n=2)
    np.testing.assert_array_equal(out, (X + 1) * X * 2)
    assert n == 2
    assert compiled.cost_analysis() is not None and compiled.memory_analysis() is not None
    assert "HloModule" in compiled.as_text()
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    abstract = f.lower(Scale(shape), shape, n=2).compile()
    np.testing.assert_array_equal(abstract(Scale(X), X, n=2)[0], X * X * 2)
    assert f.trace(Scale(X), X).jaxpr.jaxpr.eqns
    with pytest.raises(TypeError, match=r"kwargs\['n'\] it was 2, got 3"):
        compiled(Scale(X), X, n=3)
    with pytest.raises(TypeError, match="structure for which it was lowered"):
        compiled(Scale(X), X)


@pytest.mark.parametrize("with_static", [False, True])
def test_a_program_compiled_ahead_of_time_is_not_compiled_again_by_a_call(
    with_static: bool, caplog: pytest.LogCaptureFixture
):
    @ft.filter_jit
    def once_compiled(x: jax.Array, *more: Any) -> Any:
        return jnp.sin(x), (more, "text")

    args = (X, 3) if with_static else (X,)

    def compiled() -> int:
        lines = [r.getMessage() for r in caplog.records]
        return sum("Compiling" in line and "once_compiled" in line for line in lines)

    with jax.log_compiles(True):
        program = once_compiled.lower(*args).compile()
        assert compiled() == 1
        out, (more, text) = once_compiled(*args)
        assert compiled() == 1
    assert (more, text) == (args[1:], "text")
    ahead, rest = program(*args)
    np.testing.assert_array_equal(ahead, out)
    assert rest == (args[1:], "text")
    assert once_compiled.lower(*args).out_info[1] == (args[1:], "text")


def test_lower_a_method_and_a_module():
    class M(Module):
        w: jax.Array

        @ft.filter_jit
        def f(self, x: jax.Array) -> jax.Array:
            return self.w * x

    np.testing.assert_array_equal(M(X).f.lower(X).compile()(X), X * X)
    np.testing.assert_array_equal(ft.filter_jit(Scale(X)).lower(X).compile()(X), X * X)
