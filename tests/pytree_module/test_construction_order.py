"""The steps of construction: `__init__`, defaults, checks; what may be done in which."""

import dataclasses
import threading

import jax
import jax.numpy as jnp
import pytest

from pytree_module import Module, field


class Own(Module):
    x: int

    def __init__(self, x: int):
        self.x = x


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
