"""Values that a static field refuses, or warns of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytree_module import Module, field


class Point(Module):
    x: float
    y: float = 0.0


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
