"""Marks, and keys for tests."""

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from filtered_transforms import extend

COUNTS: list[str] = []


def scaled_by(factor: Any, shift: float = 1.0) -> Callable[[Any], Any]:
    def inner(x: Any) -> Any:
        return factor * x

    def scaled(x: Any, *, power: int = 2) -> Any:
        COUNTS.append("traced")
        return inner(x) ** power + shift

    return scaled


def test_a_token_is_itself_wherever_it_goes():
    token, other = extend.str2jax("token"), extend.str2jax("token")
    assert str(token) == repr(token) == "token" and token != other
    out, n = jax.lax.while_loop(lambda c: c[1] < 3, lambda c: (c[0], c[1] + 1), (token, 0))
    assert out == token and n == 3
    assert {token: 1}[jax.jit(lambda t: t)(token)] == 1


def test_keys_are_new_each_time_and_known_by_seed():
    getkey, again = extend.GetKey(3), extend.GetKey(3)
    keys = np.stack([getkey() for _ in range(5)])
    np.testing.assert_array_equal(keys, np.stack([again() for _ in range(5)]))
    assert len(np.unique(keys, axis=0)) == 5
    assert extend.GetKey().seed != extend.GetKey().seed
    assert extend.doc_repr(keys, "keys") is keys
    assert extend.doc_remove_args("x")(scaled_by) is scaled_by


def test_tokens_are_let_go_and_leave_no_class_behind():
    tokens = [extend.str2jax(f"token {i}") for i in range(3)]
    assert len(set(map(type, tokens))) == 1 and len(set(tokens)) == 3
    first = weakref.ref(tokens[0])
    for copied in (copy.copy(tokens[0]), copy.deepcopy(tokens[0])):
        assert copied == tokens[0] and hash(copied) == hash(tokens[0])
    del tokens, copied
    gc.collect()
    assert first() is None
