"""jaxtyping's decorator and import hook, with beartype, on modules."""

import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from beartype import beartype
from jaxtyping import Array, Float, TypeCheckError, install_import_hook, jaxtyped

from pytree_module import BoundMethod, Module, field

_SOURCE = """
from jaxtyping import Array, Float
from pytree_module import AbstractVar, Module, field


class AbstractLayer(Module):
    size: AbstractVar[int]


class Linear(AbstractLayer):
    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]
    size: int = field(static=True, default=3)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.weight @ x + self.bias


class Own(Module):
    weight: Float[Array, " out"]
    unset: float = 2.0

    def __init__(self, weight: Float[Array, " out"]):
        self.weight = weight

    def method(self, n: int) -> int:
        return n


class Child(Own):
    more: int

    def __init__(self, weight, more: int):
        super().__init__(weight)
        self.more = more
"""


@pytest.fixture
def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hooked_by_jaxtyping.py").write_text(_SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    with install_import_hook("hooked_by_jaxtyping", "beartype.beartype"):
        yield importlib.import_module("hooked_by_jaxtyping")
    del sys.modules["hooked_by_jaxtyping"]


def test_import_hook_checks_fields_of_a_generated_init(hooked) -> None:
    linear = hooked.Linear(jnp.ones((3, 2)), jnp.ones(3))
    assert (linear(jnp.ones(2)) == 3).all()
    with pytest.raises(TypeCheckError):
        hooked.Linear(jnp.ones((3, 2)), jnp.ones(2))
    with pytest.raises(TypeCheckError):
        linear(jnp.ones((1, 2)))


def test_import_hook_checks_the_arguments_of_an_own_init(hooked) -> None:
    # https://github.com/patrick-kidger/equinox/issues/1172: unset defaults met the checker
    own = hooked.Own(jnp.ones(2))
    assert own.unset == 2.0 and own.method(3) == 3
    with pytest.raises(TypeCheckError):
        hooked.Own(jnp.ones((2, 2)))
    assert hooked.Child(jnp.ones(2), 1).more == 1
    with pytest.raises(TypeCheckError):
        hooked.Child(jnp.ones(2), "one")


def test_hooked_classes_are_modules_like_others(hooked) -> None:
    linear = hooked.Linear(jnp.ones((3, 2)), jnp.ones(3))
    mapped = jax.tree_util.tree_map(lambda x: x + 1, linear)
    assert (mapped.weight == 2).all() and isinstance(hooked.Own(jnp.ones(2)).method, BoundMethod)
    out = jax.jit(lambda m, x: jax.vmap(m)(x))(linear, jnp.ones((5, 2)))
    assert out.shape == (5, 3) and (out == 3).all()
    with pytest.raises(TypeError, match="abstract attributes {'size'}"):
        hooked.AbstractLayer()


def test_decorator_on_a_method_and_on_a_class() -> None:
    @jaxtyped(typechecker=beartype)
    class Scale(Module):
        by: Float[Array, ""]
        n: int = field(static=True)

        @jaxtyped(typechecker=beartype)
        def apply(self, x: Float[Array, " a"]) -> Float[Array, " a"]:
            return self.by * x

    scale = Scale(jnp.asarray(2.0), 1)
    assert (scale.apply(jnp.ones(2)) == 2).all()
    with pytest.raises(TypeCheckError):
        scale.apply(jnp.ones((2, 2)))
    with pytest.raises(TypeCheckError):
        Scale(jnp.ones(2), 1)


def test_constructor_is_checked_for_what_the_converter_takes() -> None:
    def parse(text: str) -> jax.Array:
        return jnp.asarray([float(word) for word in text.split()])

    @jaxtyped(typechecker=beartype)
    class Foo(Module):
        x: Float[Array, " n"] = field(converter=jnp.asarray)
        y: Float[Array, " n"] = field(converter=parse)
        z: Float[Array, " n"]

    foo = Foo([1.0, 2.0], "3 4", jnp.ones(2))
    assert foo.x.tolist() == [1.0, 2.0] and foo.y.tolist() == [3.0, 4.0]
    with pytest.raises(TypeCheckError, match="'y'"):
        Foo([1.0, 2.0], 3.0, jnp.ones(2))
    with pytest.raises(TypeCheckError, match="'z'"):
        Foo([1.0, 2.0], "3 4", 1.0)
