"""How instances are made: inheritance, generated and own `__init__`, checks, cycles."""

import dataclasses
import functools
import threading
from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytree_module import Module, Partial, field

T = TypeVar("T")


class Point(Module):
    x: float
    y: float = 0.0


class Own(Module):
    x: int

    def __init__(self, x: int):
        self.x = x


def test_fields_are_inherited_in_order() -> None:
    class Point3(Point):
        z: float = 1.0

    assert jax.tree_util.tree_leaves(Point3(1.0, 2.0, 3.0)) == [1.0, 2.0, 3.0]


def test_fields_may_be_named_as_what_python_calls_classes() -> None:
    class Odd(Module):
        cls: int
        owner: int = 2

    assert (Odd(cls=1).cls, Odd(cls=1, owner=3).owner) == (1, 3)


def test_a_property_in_place_of_a_field_is_no_part_of_the_tree() -> None:
    class Base(Module):
        x: int
        scale: float

    class Computed(Base):
        y: int

        def __init__(self, y: int):
            self.y, self.scale = y, 2.0

        @property
        def x(self) -> int:
            return self.y + 1

    made = Computed(3)
    assert made.x == 4 and jax.tree_util.tree_leaves(made) == [2.0, 3]
    doubled = jax.tree_util.tree_map(lambda leaf: 2 * leaf, made)
    assert (doubled.x, doubled.scale, doubled.y) == (7, 4.0, 6)
    assert doubled == doubled and made != doubled and "x=4" in repr(made)

    class Still(Base):
        @property
        def x(self) -> int:
            return 1

        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="'scale' was not initialized"):
        Still()


def test_subclass_of_an_own_init_uses_it() -> None:
    class Child(Own):
        y: int = 3

    assert (Child(1).x, Child(1).y) == (1, 3)
    with pytest.raises(TypeError, match="2 positional arguments but 3 were given|takes 2"):
        Child(1, 2)


def test_own_init_in_a_subclass_of_a_generated_one() -> None:
    class Diagonal(Point):
        def __init__(self, x: float):
            super().__init__(x, x)

    assert jax.tree_util.tree_leaves(Diagonal(2.0)) == [2.0, 2.0]


def test_mixins_plain_and_dataclass() -> None:
    class Plain:
        def twice(self) -> float:
            return 2 * self.x

    @dataclasses.dataclass
    class Named:
        q: int

    class Mixed(Plain, Named, Module):
        x: float

    mixed = Mixed(1, 2.5)
    assert mixed.twice() == 5.0 and jax.tree_util.tree_leaves(mixed) == [1, 2.5]


def test_generics_can_be_subscripted_and_called() -> None:
    class Box(Module, Generic[T]):
        value: T

    class IntBox(Box[int]):
        pass

    assert Box[int](3) == Box(3)
    assert IntBox(3).value == 3


def test_check_init_runs_down_the_whole_mro_own_class_first() -> None:
    log = []

    class A(Module):
        x: int

        def __check_init__(self) -> None:
            log.append("A")

    class B(A):
        pass

    class C(B):
        def __check_init__(self) -> None:
            log.append("C")
            if self.x < 0:
                raise ValueError("x is negative")

    C(1)
    assert log == ["C", "A"]
    with pytest.raises(ValueError, match="x is negative"):
        C(-1)


def test_check_init_meets_a_frozen_instance() -> None:
    class Late(Module):
        x: int

        def __check_init__(self) -> None:
            self.x = 2

    with pytest.raises(dataclasses.FrozenInstanceError):
        Late(1)


def test_missing_field_is_named() -> None:
    class Incomplete(Module):
        a: int
        b: int

        def __init__(self) -> None:
            self.a = 1

    with pytest.raises(TypeError, match="Field 'b' was not initialized. `.*Incomplete.__init__`"):
        Incomplete()


def test_undeclared_attribute_is_named_with_the_annotation_to_add() -> None:
    class Undeclared(Module):
        def __init__(self) -> None:
            self.weight = jnp.ones(2)

    with pytest.raises(AttributeError, match=r"(?s)'weight'.*weight: jax\.Array"):
        Undeclared()


def test_init_and_post_init_together_warn() -> None:
    with pytest.warns(UserWarning, match="both an `__init__` method and a"):

        class Both(Module):
            def __init__(self) -> None:
                pass

            def __post_init__(self) -> None:
                raise AssertionError("not to be run")

    Both()


def test_methods_and_transformations_work_in_init_before_all_fields_are_set() -> None:
    class Lazy(Module):
        a: jax.Array
        b: jax.Array
        kind: str = field(static=True)

        def __init__(self) -> None:
            self.a = jnp.asarray(2.0)
            self.b = jax.jit(lambda me: me.double())(self)
            self.kind = "lazy"

        def double(self) -> jax.Array:
            return 2 * self.a

    lazy = Lazy()
    assert lazy.b == 4.0
    assert lazy == jax.tree_util.tree_map(lambda x: x, lazy)


def test_property_with_a_setter_can_be_used_in_init() -> None:
    class WithSetter(Module):
        a: int

        def __init__(self) -> None:
            self.double = 4

        @property
        def double(self) -> int:
            return 2 * self.a

        @double.setter
        def double(self, value: int) -> None:
            self.a = value // 2

    assert WithSetter().a == 2 and WithSetter().double == 4


def test_own_new_and_own_setattr() -> None:
    log = []

    class Logged(Module):
        a: int

        def __new__(cls, a: int) -> "Logged":
            log.append("new")
            return super().__new__(cls)

        def __setattr__(self, name: str, value: object) -> None:
            log.append(name)
            super().__setattr__(name, value)

    assert Logged(1).a == 1 and log == ["new", "a"]


def test_new_that_returns_an_existing_instance_does_not_initialise_it_again() -> None:
    class Single(Module):
        a: int
        made = None

        def __new__(cls, a: int) -> "Single":
            if cls.made is None:
                cls.made = super().__new__(cls)
            return cls.made

    first = Single(1)
    assert Single(2) is first and first.a == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.a = 3


@pytest.mark.parametrize("again", [lambda: Point(1.0).__init__(2.0), lambda: Own(1).__init__(2)])
def test_initialising_again_is_an_error(again) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        again()


def test_slots_are_refused() -> None:
    with pytest.raises(TypeError, match="`Slotted` defines `__slots__`"):

        class Slotted(Module):
            a: int
            __slots__ = ("a",)


def test_init_false_generates_none_and_inherits_what_is_there() -> None:
    class Own(Module):
        x: int

        def __init__(self, x: str) -> None:
            self.x = int(x)

    class Child(Own, init=False):
        y: int = 2

    class Generated(Module):
        x: int

    class Renamed(Generated, init=False):
        y: int = 2

    class Below(Renamed):
        z: int = 3

    assert Child("1") == Child("1") and (Child("1").x, Child("1").y) == (1, 2)
    assert "__init__" not in vars(Child)
    assert (Renamed(1).x, Renamed(1).y) == (1, 2)
    with pytest.raises(TypeError, match="y"):
        Renamed(1, y=3)
    assert (Below(1, 4, z=5).y, Below(1, 4, z=5).z) == (4, 5)


def test_frozen_false_is_refused_and_frozen_true_accepted() -> None:
    class Explicit(Module, frozen=True):
        a: int

    assert Explicit(1).a == 1
    with pytest.raises(TypeError, match="every Module is frozen"):

        class Loose(Module, frozen=False):
            a: int


# Cycles.


class Holder(Module):
    inner: object


def _holds_itself(self):
    self.f = self


def _holds_own_method(self):
    self.f = self.method


def _holds_itself_in_a_list(self):
    self.f = [1, {"me": self}]


def _holds_a_child_that_holds_it(self):
    self.f = Holder(self)


def _holds_own_method_in_a_child(self):
    self.f = (Holder(Partial(self.method, 1)),)


@pytest.mark.parametrize(
    "fill",
    [
        _holds_itself,
        _holds_own_method,
        _holds_itself_in_a_list,
        _holds_a_child_that_holds_it,
        _holds_own_method_in_a_child,
    ],
)
def test_cycles_are_refused_at_construction(fill) -> None:
    class Cyclic(Module):
        f: object

        def __init__(self) -> None:
            fill(self)

        def method(self) -> None: ...

    expected = "Cannot assign methods in __init__" if "method" in fill.__name__ else "a cycle"
    with pytest.raises(ValueError, match=expected) as caught:
        Cyclic()
    assert "Cyclic.f" in str(caught.value)


def test_an_instance_that_escapes_without_a_cycle_is_fine() -> None:
    seen = []

    class Escaping(Module):
        f: object

        def __init__(self) -> None:
            seen.append(self)
            self.f = [1, 2]

    assert Escaping() is seen[0]


def test_bound_method_of_another_instance_may_be_stored() -> None:
    class Other(Module):
        a: int

        def get(self) -> int:
            return self.a

    assert Holder(Other(3).get).inner() == 3
    assert jax.tree_util.tree_leaves(Holder(Other(3).get)) == [3]


# Arrays in static fields.


class Fixed(Module):
    value: object = field(static=True)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (lambda: jnp.ones(2), "Fixed.value"),
        (lambda: (1, [jnp.ones(2)]), r"Fixed.value\[1\]\[0\]"),
        (lambda: {"a": Point(jnp.ones(2))}, "Fixed.value.*a.*x"),
    ],
)
def test_jax_array_in_a_static_field_is_refused_with_its_path(value, path: str) -> None:
    with pytest.raises(TypeError, match=f"A JAX array is being set as static! `{path}` is a float"):
        Fixed(value())


def test_tracer_in_a_static_field_is_refused() -> None:
    with pytest.raises(TypeError, match="being set as static"):
        jax.jit(lambda x: Fixed(x))(1.0)


def test_numpy_array_in_a_static_field_warns_and_is_compared_by_value() -> None:
    def fixed() -> Fixed:
        with pytest.warns(UserWarning, match=r"`Fixed.value\[0\]` is a float32\[2\]"):
            return Fixed((np.ones(2, np.float32),))

    traces = 0

    @jax.jit
    def sum_(m: Fixed, x: jax.Array) -> jax.Array:
        nonlocal traces
        traces += 1
        return x + m.value[0].sum()

    x = jnp.asarray(1.0)
    assert sum_(fixed(), x) == 3 and sum_(fixed(), x) == 3 and traces == 1
    with pytest.warns(UserWarning):
        other = Fixed((np.full(2, 2, np.float32),))
    assert sum_(other, x) == 5 and traces == 2
    copied = jax.tree_util.tree_map(lambda x: x, fixed())
    assert copied == fixed() and copied != other


class NoHash:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoHash)

    __hash__ = None


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1, 2}, NoHash()])
def test_static_value_without_a_hash_warns_at_construction_and_still_works(value) -> None:
    with pytest.warns(UserWarning, match=r"`Fixed.value` is a .* It has no hash") as caught:
        fixed = Fixed(value)
    assert caught[0].filename == __file__
    assert jax.jit(lambda m: m)(fixed).value == value


@pytest.mark.parametrize(
    "value", [(1, ("a",)), (1, [2]), frozenset({1}), len, jnp.float32, Point, Point(1.0)]
)
def test_static_value_that_stays_what_it_is_does_not_warn(value) -> None:
    assert Fixed(value).value == value


def test_partial_may_say_what_it_returns() -> None:
    class Holder(Module):
        f: Partial[int]

    assert Holder(Partial(max, 2)).f(3) == 3
    assert isinstance(Holder(Partial(max, 2)).f, Partial)


# Functions that hide parameters.


class Linear(Module):
    weight: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x

    def scale(self, x: jax.Array) -> jax.Array:
        return self.weight * x


def bind(function):
    return functools.partial(function)


def bind_as_argument(function):
    return functools.partial(lambda f, x: f(x), getattr(function, "__self__", function))


# https://github.com/patrick-kidger/equinox/issues/206
# https://github.com/patrick-kidger/equinox/issues/665
# https://github.com/patrick-kidger/equinox/issues/1120
@pytest.mark.parametrize(
    "transform",
    [
        jax.jit,
        jax.vmap,
        jax.grad,
        jax.checkpoint,
        jax.pmap,
        jax.hessian,
        jax.custom_jvp,
        lambda f: jax.jit(jax.vmap(f)),
        lambda f: functools.partial(jax.vmap(f)),
        bind,
        bind_as_argument,
    ],
)
@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: [f], lambda f: {"f": (f,)}])
@pytest.mark.parametrize("what", [lambda m: m, lambda m: m.scale, lambda m: m.__call__])
def test_transformed_module_as_a_field_warns(transform, wrap, what) -> None:
    hidden = wrap(transform(what(Linear(jnp.ones(2)))))
    with pytest.warns(UserWarning, match=r"(?s)Possibly assigning a JAX-transformed.*`Linear`"):
        Holder(hidden)


class Formula(Module):
    r"""Its docstring has braces, as in $k = 1/\sqrt{n}$: `jax.vmap` cannot format it."""

    weight: jax.Array

    def __call__(self, x):
        return self.weight * x


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad, jax.hessian])
def test_transformed_module_with_braces_in_its_docstring_warns(transform) -> None:
    with pytest.warns(UserWarning, match=r"(?s)Possibly assigning a JAX-transformed.*`Formula`"):
        Holder(transform(Formula(jnp.ones(2))))


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad, jax.checkpoint])
def test_transformed_function_as_a_field_does_not_warn(transform) -> None:
    Holder(transform(lambda x: x))


def test_a_partial_that_hides_nothing_does_not_warn() -> None:
    Holder(functools.partial(jnp.add, jnp.ones(2)))
    Holder(functools.partial(lambda module, x: x, Holder(jnp.tanh)))
    Holder(jax.tree_util.Partial(Linear(jnp.ones(2))))


def test_construction_in_many_threads() -> None:
    made: dict[int, list[Own]] = {}

    def build(n: int) -> None:
        made[n] = [Own(n * 1000 + i) for i in range(500)]

    threads = [threading.Thread(target=build, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(8):
        assert [own.x for own in made[n]] == [n * 1000 + i for i in range(500)]
        with pytest.raises(dataclasses.FrozenInstanceError):
            made[n][0].x = 1


def test_own_new_may_set_an_attribute() -> None:
    class Tagged(Module):
        x: int

        def __new__(cls, x):
            module = super().__new__(cls)
            object.__setattr__(module, "tag", "t")
            return module

    assert Tagged(3).x == 3 and jax.tree.leaves(Tagged(3)) == [3]


def test_a_cycle_out_of_sight_of_jax_prints() -> None:
    class Hiding(Module):
        fn: object

        def __init__(self):
            self.fn = jax.tree_util.Partial(self.method, 1)

        def method(self, x):
            return x

    hiding = Hiding()
    assert hiding.fn() == 1
    assert "<recursive>" in repr(hiding) and "<recursive>" in repr(hiding.method)
