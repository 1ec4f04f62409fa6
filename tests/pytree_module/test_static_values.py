"""The structure of an instance says what a compiled program depends on: no less, and no more."""

import copy
import dataclasses
import enum
import fractions
import functools
import itertools
import math
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytree_module import Module, Static, field, module_from_fields
from tree_surgery import tree_replace, tree_set


class Level(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass(frozen=True)
class Config:
    size: Any
    name: str = "a"


class Loose(Module):
    x: Any
    n: Any = field(static=True)


class Typed(Module):
    x: Any
    n: int = field(static=True)


class Flagged(Module):
    x: Any
    n: bool = field(static=True)


class Scaled(Module):
    x: Any
    n: float = field(static=True)


class Named(Module):
    x: Any
    n: "str" = field(static=True)


class Either(Module):
    x: Any
    n: int | bool = field(static=True)


CLASSES = (Loose, Typed, Flagged, Scaled, Named, Either)
each_class = pytest.mark.parametrize("cls", CLASSES)

# No two of these mean the same to a program; `==` says so of few.
NUMBERS = [
    1, 1.0, True, 1 + 0j, Level.ONE, fractions.Fraction(1), 0, 0.0, -0.0, False, 0j,
    complex(0, -0.0), math.nan, "1", None, b"1",
]  # fmt: skip
NESTED = {
    "bare": lambda n: n,
    "tuple": lambda n: (n,),
    "tuple of tuples": lambda n: ("a", (len, (n, None))),
    "frozenset": lambda n: frozenset([n, "a"]),
    "frozen dataclass": Config,
    "dataclass in a tuple": lambda n: (Config((n,)), 3),
}


def structure(module: Module) -> Any:
    return jax.tree_util.tree_structure(module)


@pytest.mark.parametrize("nest", NESTED)
@each_class
def test_static_values_of_different_meaning_are_different_structures(cls, nest) -> None:
    made = [cls(0, NESTED[nest](number)) for number in NUMBERS]
    again = [cls(0, NESTED[nest](copy.deepcopy(number))) for number in NUMBERS]
    again[NUMBERS.index(math.nan)] = cls(0, NESTED[nest](float("nan")))  # another NaN
    for (i, a), (j, b) in itertools.product(enumerate(made), enumerate(again)):
        assert (structure(a) == structure(b)) == (i == j), (a.n, b.n)
        assert (a == b) == (i == j)
        if i == j:
            assert hash(structure(a)) == hash(structure(b)) and hash(a) == hash(b)
    for a in made:
        mapped = jax.tree_util.tree_map(lambda x: x, a)
        assert structure(mapped) == structure(a) and mapped.n is a.n
        keyed = jax.tree_util.tree_flatten_with_path(a)[1]
        assert keyed == structure(a)


@each_class
def test_jit_compiles_for_each_meaning_once(cls) -> None:
    @jax.jit
    def double(module):
        return jnp.asarray(module.n)

    x = jnp.int8(1)
    for _ in range(2):
        for number in (1, 1.0, True, 1j):
            found = double(cls(x, number))
            assert found.dtype == jnp.asarray(number).dtype
    assert double._cache_size() == 4
    sign = jax.jit(lambda module: jnp.copysign(1.0, module.n))
    assert sign(cls(x, 0.0)) == 1 and sign(cls(x, -0.0)) == -1
    sign(cls(x, float("nan"))), sign(cls(x, float("nan")))
    assert sign._cache_size() == 3


def test_a_static_pytree_tells_numbers_apart() -> None:
    values = [(1,), (1.0,), (True,), (0.0,), (-0.0,), (math.nan,), {"a": Config(1)}]
    values.append({"a": Config(1.0)})
    for (i, a), (j, b) in itertools.product(enumerate(values), repeat=2):
        assert (structure(Static(a)) == structure(Static(b))) == (i == j)


def test_usual_values_lie_in_the_structure_as_they_are() -> None:
    # What need not be looked into costs nothing when it is compared.
    flatten = jax.tree_util.default_registry.flatten_one_level
    assert flatten(Typed(0, 3))[1] == (3,) and flatten(Scaled(0, 0.5))[1] == (0.5,)
    assert flatten(Loose(0, (3, "a", len)))[1] == (tuple, (3, "a", len))


# The structure of an instance is its own.


def odd_instances(cls: type[Module]) -> None:
    """What once changed how all instances of a class were flattened."""
    with pytest.warns(UserWarning, match="NumPy array"):
        structure(cls(0, np.ones(2)))
    structure(cls(0, -0.0))


def test_the_structure_does_not_depend_on_other_instances() -> None:
    class Cached(Module):
        x: Any
        n: Any = field(static=True)

        @functools.cached_property
        def double(self):
            return 2 * self.x

    a, b = Cached(1, "a"), Cached(1, "a")
    before = structure(a)
    assert b.double == 2
    assert structure(b) == before
    odd_instances(Cached)
    assert structure(a) == structure(b) == before and hash(structure(b)) == hash(before)
    assert jax.tree_util.tree_map(lambda x, y: x + y, a, b).x == 2
    c = Cached(1, "a")
    assert c.double == 2 and structure(c) == before
    traces = 0

    @jax.jit
    def run(module):
        nonlocal traces
        traces += 1
        return module.x

    run(a), run(b), run(c), run(jax.tree_util.tree_map(lambda x: x, c))
    assert traces == 1


def test_the_structure_while_an_instance_is_made_is_that_of_others() -> None:
    seen = []

    class Early(Module):
        x: Any
        n: Any = field(static=True)

        def __init__(self, x, n, again):
            self.x, self.n = x, n
            seen.append(structure(self))
            if again:
                odd_instances(type("Odd", (Early,), {"__init__": Loose.__init__}))
                Early(1, -0.0, False)

    structures = [structure(Early(1, "a", again)) for again in (False, True, False)]
    assert structures[0] == structures[1] == structures[2] == seen[0] == seen[1] == seen[3]


# Every way to an instance holds what the constructor holds.


def unchecked(n: Any) -> Any:
    """The state of an instance that no constructor would make."""
    made = Loose(0, 0)
    return {**vars(made), "n": n}


def from_state(n: Any) -> Loose:
    made = object.__new__(Loose)
    made.__setstate__(unchecked(n))
    return made


WAYS = {
    "class": lambda n: Loose(0, n),
    "tree_replace": lambda n: tree_replace(Loose(0, 1), n=n),
    "tree_set": lambda n: tree_set(Loose(0, 1), "n", n),
    "tree_set within": lambda n: tree_set([Loose(0, (1, 2))], "[0].n", n)[0],
    "dataclasses.replace": lambda n: dataclasses.replace(Loose(0, 1), n=n),
    "module_from_fields": lambda n: module_from_fields(Loose, x=0, n=n),
    "module_from_fields like": lambda n: module_from_fields(Loose, Loose(0, 1), n=n),
    "setstate": from_state,
}
COPIES = {
    "none": lambda x: x,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "map": lambda x: jax.tree_util.tree_map(lambda leaf: leaf, x),
    "odd leaves": lambda x: jax.tree_util.tree_map(lambda _: 0, structure(x).unflatten([object()])),
    "replace": lambda x: tree_replace(x, x=0),
    "like": lambda x: module_from_fields(Loose, x),
}
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
def test_no_way_puts_a_jax_array_into_a_static_field(way) -> None:
    for value in (jnp.ones(2), [1, (jnp.ones(2),)], jax.random.key(0)):
        with pytest.raises(TypeError, match="A JAX array is being set as static! `Loose.n"):
            WAYS[way](value)


@each_way
@pytest.mark.parametrize("then", COPIES)
@pytest.mark.filterwarnings("ignore:A NumPy array is being set as static")
def test_static_values_are_compared_by_meaning_whichever_way_they_came(way, then) -> None:
    for one, other in (
        (np.arange(2), np.arange(2) + 1),
        ((1.0,), (1,)),
        (-0.0, 0.0),
        (math.nan, 1.0),
        ((2, np.float32(1)), (2, np.float64(1))),
    ):
        a, b = COPIES[then](WAYS[way](one)), COPIES[then](WAYS[way](copy.deepcopy(one)))
        c = COPIES[then](WAYS[way](other))
        assert structure(a) == structure(b) == structure(Loose(0, one)) != structure(c)
        assert hash(structure(a)) == hash(structure(b))
        with pytest.raises(dataclasses.FrozenInstanceError):
            a.n = 1


@pytest.mark.parametrize("way", ["class", "tree_replace", "tree_set", "dataclasses.replace"])
def test_who_gives_a_numpy_array_is_warned(way) -> None:
    with pytest.warns(UserWarning, match="A NumPy array is being set as static! `Loose.n`") as told:
        WAYS[way](np.ones(2))
    assert len(told) == 1


def test_a_copy_in_the_constructor_is_frozen() -> None:
    class Copying(Module):
        a: int

        def __init__(self, copies):
            self.a = 1
            copies += [copy.copy(self), copy.deepcopy(self)]

    copies: list[Any] = []
    Copying(copies)
    for made in copies:
        assert made.a == 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.a = 2


def test_what_an_older_version_pickled_takes_defaults_for_new_fields() -> None:
    made = object.__new__(Newer)
    made.__setstate__({"a": 1})
    assert made == Newer(1) and structure(made) == structure(Newer(1))


class Newer(Module):
    a: int
    b: list[int] = field(default_factory=lambda: [1])
    c: str = field(static=True, default="c")


def test_module_from_fields() -> None:
    calls = []

    class Made(Module):
        a: Any = field(converter=float)
        b: str = field(static=True, default="b")

        def __init__(self, n):
            calls.append(n)
            self.a = n

        def __check_init__(self):
            calls.append("check")

    made = module_from_fields(Made, a=1)
    assert calls == [] and (made.a, made.b) == (1, "b") and type(made.a) is int
    assert module_from_fields(Made, made, b="c") == module_from_fields(Made, a=1, b="c")

    class Sub(Made):
        pass

    assert type(module_from_fields(Sub, made)) is Sub and module_from_fields(Sub, made).a == 1
    with pytest.raises(TypeError, match="has no field `c`. Its fields are: a, b"):
        module_from_fields(Made, c=1)
    with pytest.raises(TypeError, match="Field 'a' was not initialized"):
        module_from_fields(Made)
    with pytest.raises(TypeError, match="expects a class of modules"):
        module_from_fields(int)  # type: ignore[type-var]


def test_a_subclass_of_an_odd_instance_is_compared_by_value_too() -> None:
    class Sub(Loose):
        pass

    with pytest.warns(UserWarning, match="NumPy array"):
        odd = Loose(0, np.arange(2))
    a, b = module_from_fields(Sub, odd), module_from_fields(Sub, copy.deepcopy(odd))
    assert structure(a) == structure(b)
