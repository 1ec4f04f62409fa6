"""Of the checks in a loop, the first failure in time counts, and it ends the loop."""

import jax
import jax.numpy as jnp
import pytest

from filtered_transforms import filter_jit
from runtime_checks import EquinoxRuntimeError, error_if


def positive(x: jax.Array, text: str = "negative input") -> jax.Array:
    return error_if(x, x < 0, text)


def test_the_first_failure_in_time_is_reported():
    def f(n: jax.Array) -> jax.Array:
        def body(c: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
            c = error_if(c, i == n + 2, "late, but first in the program")
            return error_if(c + 1, i == n, "early"), None

        return jax.lax.scan(body, jnp.zeros(()), jnp.arange(10))[0]

    with pytest.raises(EquinoxRuntimeError, match="^early"):
        filter_jit(f)(jnp.array(3))
    with pytest.raises(EquinoxRuntimeError, match="^late"):
        filter_jit(f)(jnp.array(-2))
    assert filter_jit(f)(jnp.array(20)) == 10


def test_which_elements_failed_first_in_a_loop():
    def f(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (positive(c) - 1, None), x, None, length=9)[0]

    with pytest.raises(EquinoxRuntimeError, match="for 1 of 3 elements, at 1") as caught:
        filter_jit(f)(jnp.array([5.0, 1.5, 2.5]))  # 1 fails in the third step, 2 in the fourth
    assert caught.value.index == ((1,),)


def test_a_failure_ends_a_loop_without_another_end():
    f = filter_jit(
        lambda x: jax.lax.while_loop(lambda c: c[0] > -1, lambda c: positive(c) * 1 - 0, x)
    )
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        f(jnp.array([1.0, -1.0]))
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        filter_jit(lambda x: jax.lax.while_loop(lambda c: positive(c) > -1, lambda c: c, x))(
            jnp.array(-0.5)
        )
