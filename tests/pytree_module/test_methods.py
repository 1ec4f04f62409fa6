"""Bound methods: PyTrees that behave like Python's own."""

import dataclasses
import functools
import inspect
import pickle
import pydoc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytree_module import BoundMethod, Module, field


class Linear(Module):
    weight: jax.Array
    name: str = field(static=True, default="linear")

    def __call__(self, x: jax.Array) -> jax.Array:
        """Multiplies."""
        return self.weight * x

    def scale(self, x: jax.Array, by: float = 1.0) -> jax.Array:
        """Scales."""
        return self.weight * x * by

    @property
    def double(self) -> jax.Array:
        return 2 * self.weight

    @classmethod
    def make(cls) -> "Linear":
        return cls(jnp.ones(2))

    @staticmethod
    def add(x: int, y: int) -> int:
        return x + y


class Derived(Linear):
    def scale(self, x: jax.Array, by: float = 1.0) -> jax.Array:
        return super().scale(x, by) + 1


def linear(value: float = 2.0) -> Linear:
    return Linear(jnp.full(2, value))


def test_the_instance_is_the_child_and_the_function_static() -> None:
    (path_leaf,), treedef = jax.tree_util.tree_flatten_with_path(linear().scale)
    assert jax.tree_util.keystr(path_leaf[0]) == ".__self__.weight"
    rebuilt = jax.tree_util.tree_unflatten(treedef, [jnp.full(2, 3.0)])
    assert (rebuilt(jnp.ones(2)) == 3).all()
    assert treedef != jax.tree_util.tree_structure(linear().__call__)


@pytest.mark.parametrize("method", ["scale", "__call__"])
def test_transformations_trace_the_instance_of_a_method_passed_as_an_argument(method: str) -> None:
    apply = jax.jit(lambda f, x: f(x))
    grad = jax.grad(lambda f, x: f(x).sum())(getattr(linear(), method), jnp.full(2, 5.0))
    assert (apply(getattr(linear(), method), jnp.full(2, 5.0)) == 10).all()
    assert isinstance(grad, BoundMethod) and (grad.__self__.weight == 5).all()
    out = jax.vmap(getattr(linear(), method))(jnp.ones((3, 2)))
    assert out.shape == (3, 2) and (out == 2).all()


@pytest.mark.parametrize("method", ["scale", "__call__"])
def test_equal_structure_never_retraces(method: str) -> None:
    traces = 0

    @jax.jit
    def apply(f, x):
        nonlocal traces
        traces += 1
        return f(x)

    for value in (1.0, 2.0, 3.0):
        assert (apply(getattr(linear(value), method), jnp.ones(2)) == value).all()
    assert traces == 1


@pytest.mark.parametrize("method", ["scale", "__call__"])
def test_equality_and_hash_are_by_value(method: str) -> None:
    # https://github.com/patrick-kidger/equinox/issues/291
    first, second = getattr(linear(), method), getattr(linear(), method)
    assert first == second and hash(first) == hash(second)
    assert first != getattr(linear(3.0), method)
    assert linear().scale != linear().__call__
    assert first != len and first != getattr(linear(), method).__wrapped__
    assert len({first, second}) == 1


def test_jax_jit_of_a_method_finds_its_cached_trace() -> None:
    model = linear()
    assert (jax.jit(model.scale)(jnp.ones(2)) == 2).all()
    assert (jax.jit(model.__call__)(jnp.ones(2)) == 2).all()
    with pytest.raises(TypeError, match=r"`Linear.weight` has none(?s:.)*jax.jit\(module.__call__"):
        jax.jit(model)(jnp.ones(2))


def test_equality_under_jit_is_a_bool() -> None:
    @jax.jit
    def same(a: Linear, b: Linear) -> tuple[bool, bool]:
        return a.scale == a.scale, a.scale == b.scale

    assert same(linear(), linear()) == (True, False)


def test_attributes_are_those_of_the_function() -> None:
    method = linear().scale
    assert method.__name__ == "scale" and method.__doc__ == "Scales."
    assert method.__qualname__ == "Linear.scale"
    assert method.__func__ is Linear.scale and method.__self__ is not None
    assert inspect.ismethod(method.__wrapped__)
    assert functools.wraps(method)(lambda x: x).__name__ == "scale"
    with pytest.raises(AttributeError):
        _ = method.nothing


def test_the_class_of_methods_and_its_subclasses_have_documents_of_their_own() -> None:
    class Documented(BoundMethod):
        """Of its own."""

    class Undocumented(BoundMethod):
        pass

    assert isinstance(BoundMethod.__doc__, str) and "first argument" in BoundMethod.__doc__
    assert "first argument" in pydoc.render_doc(BoundMethod)
    assert Documented.__doc__ == inspect.getdoc(Documented) == "Of its own."
    assert Undocumented.__doc__ is None and inspect.getdoc(Undocumented) == inspect.getdoc(
        BoundMethod
    )
    for cls in (BoundMethod, Documented, Undocumented):
        method = cls(Linear.scale, linear())
        assert method.__doc__ == inspect.getdoc(method) == "Scales."
        assert method.__module__ == __name__


def test_signatures_are_true() -> None:
    assert list(inspect.signature(linear().scale).parameters) == ["x", "by"]
    assert list(inspect.signature(linear().__call__).parameters) == ["x"]
    assert list(inspect.signature(linear()).parameters) == ["x"]
    assert list(inspect.signature(Linear.scale).parameters) == ["self", "x", "by"]


def test_super_class_static_methods_and_properties() -> None:
    derived = Derived(jnp.ones(2))
    assert (derived.scale(jnp.ones(2)) == 2).all()
    assert (super(Derived, derived).scale(jnp.ones(2)) == 1).all()
    assert type(Derived.make()) is Derived and type(derived.make()) is Derived
    assert Linear.add(1, 2) == 3 and derived.add(1, 2) == 3
    assert (derived.double == 2).all()


def test_a_function_set_on_the_class_later_becomes_a_method() -> None:
    class Later(Module):
        x: int

    Later.get = lambda self: self.x
    assert isinstance(Later(3).get, BoundMethod) and Later(3).get() == 3


def test_a_bound_method_as_a_class_attribute_stays_bound() -> None:
    class Uses(Module):
        f = linear().scale

    assert (Uses().f(jnp.ones(2)) == 2).all()


def test_pickle_and_partial() -> None:
    method = linear().scale
    assert pickle.loads(pickle.dumps(method)) == method
    assert (functools.partial(method, by=2.0)(jnp.ones(2)) == 4).all()
    assert (jax.tree_util.Partial(method, by=2.0)(jnp.ones(2)) == 4).all()


def test_decorated_methods() -> None:
    class Decorated(Module):
        x: jax.Array

        @jax.jit
        def jitted(self, y):
            return self.x + y

        @jax.named_scope("scope")
        def scoped(self, y):
            return self.x + y

        @functools.partial(jax.jit, static_argnames="n")
        def power(self, n: int):
            return self.x**n

    made = Decorated(jnp.asarray(3.0))
    assert made.jitted(1.0) == 4 and made.scoped(1.0) == 4 and made.power(n=2) == 9


def test_getattr_of_the_class_is_asked_for_unknown_names_only() -> None:
    class Forward(Module):
        inner: Linear

        def __getattr__(self, name: str):
            return f"no {name}"

        def known(self) -> int:
            return 1

    made = Forward(linear())
    assert made.known() == 1 and made.other == "no other" and isinstance(made.inner, Linear)


class _Divide(Module):
    by: object

    def apply(self, x):
        return x / self.by


@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint])
@pytest.mark.parametrize("make", [jnp.float32, np.float32, lambda zero: np.full((), zero), float])
def test_constants_that_differ_in_the_sign_of_zero_alone_are_not_shared(make, transform) -> None:
    one = jnp.ones(())
    plus, minus = _Divide(make(0.0)).apply, _Divide(make(-0.0)).apply  # both stay alive
    assert plus != minus
    assert transform(plus)(one) == jnp.inf
    assert transform(minus)(one) == -jnp.inf


def test_constants_that_differ_in_weak_type_alone_are_not_shared() -> None:
    weak, strong = _Divide(jnp.asarray(2.0)).apply, _Divide(jnp.float32(2.0)).apply
    assert weak != strong
    x = jnp.ones((), jnp.float32)
    assert jax.jit(weak)(x).dtype == jax.jit(strong)(x).dtype
    with jax.numpy_dtype_promotion("standard"):
        half = jnp.ones((), jnp.bfloat16)
        assert jax.jit(weak)(half).dtype == jnp.bfloat16
        assert jax.jit(strong)(half).dtype == jnp.float32


def test_constants_on_different_devices_are_not_shared() -> None:
    first, second = (_Divide(jax.device_put(2.0, device)).apply for device in jax.devices()[:2])
    assert first != second


@pytest.mark.parametrize("make", [jnp.ones, jax.random.key, jax.random.PRNGKey])
def test_equality_is_a_bool_while_jax_traces(make) -> None:
    first, second, other = _Divide(make(1)).apply, _Divide(make(1)).apply, _Divide(make(2)).apply
    answers = []

    @jax.jit
    def traced(x):
        answers.extend([first == second, first == other, hash(first) == hash(second)])
        return x

    traced(1.0)
    assert answers == [True, False, True]


def test_equal_methods_meet_in_one_trace() -> None:
    first, second = _Divide(jnp.full(2, 2.0)).apply, _Divide(jnp.full(2, 2.0)).apply

    @jax.jit
    def traced(x):
        return jax.checkpoint(first)(x) + jax.checkpoint(second)(x)

    assert traced(jnp.ones(2)).tolist() == [1.0, 1.0]


def test_a_bound_method_is_immutable() -> None:
    method = _Divide(2.0).apply
    for name in ("anything", "__name__", "func"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(method, name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            delattr(method, name)


def test_a_hook_of_a_base_may_replace_methods() -> None:
    # flowjax checks the arguments of what its users define so.
    class Base(Module):
        def __init_subclass__(cls) -> None:
            if "f" in cls.__dict__ and not hasattr(cls.__dict__["f"], "__isabstractmethod__"):
                f = cls.__dict__["f"]
                cls.f = lambda self, x: f(self, x) + 1

    class Scaled(Base):
        scale: float

        def f(self, x: float) -> float:
            return self.scale * x

    class More(Scaled):
        pass

    assert Scaled(2.0).f(3.0) == More(2.0).f(3.0) == 7.0
    assert isinstance(Scaled(2.0).f, BoundMethod)
    assert not hasattr(Scaled.__dict__["f"], "__isabstractmethod__")
