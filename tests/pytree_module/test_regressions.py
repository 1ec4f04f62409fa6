"""Bugs that users of Equinox met, one test each. The names are those of the project's list."""

import abc
import doctest
import inspect
import sys
import types
import warnings
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytree_module import (
    AbstractClassVar,
    AbstractVar,
    Module,
    StrictConfig,
    field,
    module_update_wrapper,
)
from tree_surgery import tree_at


class Unset(Module):
    """Two fields with defaults that `__init__` leaves alone."""

    a: jax.Array
    b: float = 3.0
    c: str = field(static=True, default="c")
    d: list = field(default_factory=lambda: [4.0])

    def __init__(self) -> None:
        self.a = jnp.ones(2)


class TestM1UnsetDefaults:
    # https://github.com/patrick-kidger/equinox/issues/1172, 1187 and 1191
    def test_defaults_are_real_leaves_and_static_values(self) -> None:
        assert jax.tree_util.tree_leaves(Unset())[1:] == [3.0, 4.0]
        assert vars(Unset())["c"] == "c"

    def test_tree_map_over_two_instances(self) -> None:
        total = jax.tree_util.tree_map(lambda x, y: x + y, Unset(), Unset())
        assert (total.a == 2).all() and total.b == 6.0 and total.d == [8.0]

    def test_vmap_in_scan(self) -> None:
        def step(carry: Unset, _: None):
            mapped = jax.vmap(lambda m: jax.tree_util.tree_map(lambda x: x + 1, m), axis_size=2)
            out = jax.tree_util.tree_map(lambda x: x[0], mapped(carry))
            return jax.tree_util.tree_map(lambda x: jnp.broadcast_to(x, (2,)), out), None

        init = jax.tree_util.tree_map(lambda x: jnp.full((2,), 1.0) + jnp.sum(x), Unset())
        carry, _ = jax.lax.scan(step, init, None, length=3)
        assert (carry.b == 7).all() and (carry.a == 6).all()


class TestM2TreeAtOnAnUnsetDefault:
    # https://github.com/patrick-kidger/equinox/issues/1035
    def test_replaceable(self) -> None:
        class WithNone(Module):
            a: int
            b: jax.Array | None = None

            def __init__(self) -> None:
                self.a = 1

        made = WithNone()
        replaced = tree_at(lambda m: m.b, made, jnp.ones(2), is_leaf=lambda x: x is None)
        assert made.b is None and (replaced.b == 1).all() and replaced.a == 1


class TestM4InitSubclassReadsAnAbstractClassVar:
    # https://github.com/patrick-kidger/equinox/issues/858
    def test_works(self) -> None:
        seen = []

        class AbstractBase(Module):
            kind: AbstractClassVar[str]

            def __init_subclass__(cls) -> None:
                super().__init_subclass__()
                seen.append(getattr(cls, "kind", None))

        class Concrete(AbstractBase):
            kind: ClassVar[str] = "concrete"

        assert Concrete().kind == "concrete" and seen == ["concrete"]


class TestM5InstanceAttributeForAnAbstractClassVar:
    # https://github.com/patrick-kidger/equinox/issues/1198
    def test_field_without_default(self) -> None:
        class AbstractBase(Module):
            kind: AbstractClassVar[str]

        class Concrete(AbstractBase):
            kind: str

        assert Concrete("k").kind == "k" and jax.tree_util.tree_leaves(Concrete("k")) == ["k"]


class TestM8HashWithADictInAStaticPosition:
    # https://github.com/escalante-bio/mosaic/issues/23
    def test_wrapper_with_annotations_is_hashable(self) -> None:
        class Wrapper(Module):
            fn: object

            @property
            def __wrapped__(self):
                return self.fn

        def annotated(x: int) -> int:
            return x

        wrapped = module_update_wrapper(Wrapper(annotated))
        assert hash(wrapped) == hash(module_update_wrapper(Wrapper(annotated)))
        assert jax.jit(lambda w, x: w.fn(x), static_argnums=0)(wrapped, 3) == 3

    def test_static_dict(self) -> None:
        class Table(Module):
            table: dict = field(static=True)

        with pytest.warns(UserWarning, match="`.*Table.table` is a dict.*has no hash"):
            table = Table({"a": 1})
        assert hash(table) == hash(jax.tree_util.tree_map(lambda x: x, table))
        assert jax.jit(lambda t: t.table["a"])(table) == 1


class TestM9InitRunsOnce:
    # https://github.com/patrick-kidger/equinox/issues/368
    @pytest.mark.parametrize("how", ["class", "super", "new"])
    def test_once(self, how: str) -> None:
        calls = []

        class Base(Module):
            x: int

            def __init__(self, x: int) -> None:
                calls.append(x)
                self.x = x

        class Child(Base):
            def __init__(self, x: int) -> None:
                super().__init__(x)

        class New(Base):
            def __new__(cls, x: int) -> "New":
                return super().__new__(cls)

        {"class": Base, "super": Child, "new": New}[how](1)
        assert calls == [1]


class TestM10MetadataIsMerged:
    # https://github.com/patrick-kidger/equinox/commit/f2e4b75
    def test_both(self) -> None:
        made = field(static=True, converter=int, metadata={"unit": "m"})
        assert dict(made.metadata) == {"unit": "m", "static": True, "converter": int}

    def test_options_given_as_metadata_count(self) -> None:
        class Meta(Module):
            a: int = field(metadata={"static": True})
            b: float = field(metadata={"converter": float})

        assert jax.tree_util.tree_leaves(Meta(1, 2)) == [2.0]


class TestM11SignatureOfTheConstructor:
    # https://github.com/patrick-kidger/equinox/issues/571
    def test_generated_init(self) -> None:
        class Generated(Module):
            a: int
            b: str = field(default="b", kw_only=True)

        assert str(inspect.signature(Generated)).startswith("(a: int, *, b: str = 'b')")

    def test_own_init_and_new(self) -> None:
        class Own(Module):
            def __init__(self, size: int, *, key: int) -> None:
                pass

        class New(Module):
            def __new__(cls, size: int) -> "New":
                return super().__new__(cls)

        assert list(inspect.signature(Own).parameters) == ["size", "key"]
        assert list(inspect.signature(New).parameters) == []  # that of the generated __init__

    def test_abstract_fields_do_not_appear(self) -> None:
        # https://github.com/danielward27/flowjax/issues/228
        class AbstractBase(Module):
            shape: AbstractVar[tuple]
            other: int

        class Concrete(AbstractBase):
            @property
            def shape(self) -> tuple:
                return ()

        assert list(inspect.signature(AbstractBase).parameters) == ["other"]
        assert list(inspect.signature(Concrete).parameters) == ["other"]


class TestM12FinalDunders:
    # https://github.com/patrick-kidger/equinox/issues/1042
    # Decided: in a strict class a concrete dunder of a user's base is as final as any method.
    def test_refused(self) -> None:
        class AbstractBase(Module, strict=StrictConfig()):
            @abc.abstractmethod
            def f(self) -> int: ...

            def __len__(self) -> int:
                return 1

        with pytest.raises(TypeError, match="overrides `__len__`"):

            class Final(AbstractBase, strict=StrictConfig()):
                def f(self) -> int:
                    return 1

                def __len__(self) -> int:
                    return 2

    def test_those_of_module_itself_may_be_overridden(self) -> None:
        class Final(Module, strict=StrictConfig()):
            def __repr__(self) -> str:
                return "final"

        assert repr(Final()) == "final"


class TestM13ArrayProtocols:
    # https://github.com/patrick-kidger/equinox/issues/898
    def test_jax_array_protocol(self) -> None:
        class Scaled(Module):
            value: jax.Array

            def __jax_array__(self) -> jax.Array:
                return 2 * self.value

        made = Scaled(jnp.ones(3))
        assert (jnp.asarray(made) == 2).all() and (jnp.sin(made) == jnp.sin(jnp.full(3, 2.0))).all()
        assert (jax.jit(lambda m, x: jnp.add(m, x))(made, jnp.ones(3)) == 3).all()

    def test_numpy_array_protocol(self) -> None:
        class Scaled(Module):
            value: np.ndarray

            def __array__(self, dtype=None, copy=None) -> np.ndarray:
                return np.asarray(2 * self.value, dtype)

        assert (np.asarray(Scaled(np.ones(3))) == 2).all()


class TestM14StaticTupleOfNumPyScalars:
    # https://github.com/patrick-kidger/equinox/issues/863
    def test_warning_gives_the_path(self) -> None:
        class Sized(Module):
            sizes: tuple = field(static=True)

        with pytest.warns(UserWarning, match=r"`.*Sized.sizes\[1\]` is a int32\[\]"):
            sized = Sized((1, np.int32(2)))
        same = jax.jit(lambda s: s.sizes[1] + 1)
        assert same(sized) == 3

    def test_python_numbers_do_not_warn(self) -> None:
        class Sized(Module):
            sizes: tuple = field(static=True)

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Sized((1, (2.0, "a")))


class TestM15StaticJaxArray:
    # https://github.com/patrick-kidger/equinox/issues/746
    @pytest.mark.parametrize("own_init", [False, True])
    def test_error_at_construction_names_the_field(self, own_init: bool) -> None:
        class Generated(Module):
            table: jax.Array = field(static=True)

        class Own(Module):
            table: jax.Array = field(static=True)

            def __init__(self, table: jax.Array):
                self.table = table

        with pytest.raises(TypeError, match=r"(Own|Generated).table` is a float32\[2\]"):
            (Own if own_init else Generated)(jnp.ones(2))


class TestM16DoctestFindsMethods:
    # https://github.com/patrick-kidger/equinox/commit/d36c654
    def test_found_and_run(self) -> None:
        module = types.ModuleType("documented")
        sys.modules[module.__name__] = module
        source = '''
from pytree_module import Module

class Documented(Module):
    """
    >>> Documented(1).x
    1
    """
    x: int

    def method(self):
        """
        >>> Documented(2).method()
        2
        """
        return self.x

    def __call__(self):
        """
        >>> Documented(3)()
        3
        """
        return self.x

    @property
    def prop(self):
        """
        >>> Documented(4).prop
        4
        """
        return self.x
'''
        exec(compile(source, "documented.py", "exec"), module.__dict__)
        try:
            tests = doctest.DocTestFinder(exclude_empty=True).find(module)
            names = {test.name for test in tests if test.examples}
            assert names == {
                f"documented.Documented{tail}" for tail in ("", ".method", ".__call__", ".prop")
            }
            runner = doctest.DocTestRunner(verbose=False)
            assert all(runner.run(test).failed == 0 for test in tests)
        finally:
            del sys.modules[module.__name__]


class TestM17MethodStoredOnItsInstance:
    # Equinox 0.11: `self.foo = self.bar` duplicates the model
    def test_refused(self) -> None:
        class Stores(Module):
            f: object
            w: jax.Array

            def __init__(self) -> None:
                self.w = jnp.ones(2)
                self.f = self.g

            def g(self) -> jax.Array:
                return self.w

        with pytest.raises(ValueError, match="Cannot assign methods in __init__"):
            Stores()


class TestM18HashCountsTheClass:
    # https://github.com/patrick-kidger/equinox/issues/393
    def test_unrelated_modules_do_not_collide(self) -> None:
        class A(Module):
            x: int

        class B(Module):
            x: int

        assert hash(A(1)) != hash(B(1)) and A(1) != B(1)


class TestM19FieldsWithInitFalse:
    # https://github.com/patrick-kidger/equinox/issues/1034
    def test_no_warning_when_post_init_sets_them(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")

            class Derived(Module):
                x: int
                y: int = field(init=False)

                def __post_init__(self) -> None:
                    self.y = self.x + 1

            assert Derived(1).y == 2

    def test_error_only_when_nothing_sets_them(self) -> None:
        class Never(Module):
            y: int = field(init=False)

        with pytest.raises(TypeError, match="Field 'y' was not initialized"):
            Never()
