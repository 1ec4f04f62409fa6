"""Fixtures of the loops."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest

import filtered_transforms as ft

# A step of so many equations that compute more than one number goes back another way.
MANY_EQUATIONS = 20


@pytest.fixture(params=["small step", "large step"])
def each_way_back(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of loops are as they are written; then each is a large program besides."""
    if request.param == "small step":
        return
    loops: Any = {name: getattr(ft, name) for name in ("while_loop", "scan", "filter_while_loop")}

    def of_large_step(loop: Callable[..., Any], which: int) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            changed = [enlarged(x) if i == which else x for i, x in enumerate(args)]
            return loop(*changed, **options)

        return run

    for name, loop in loops.items():
        monkeypatch.setattr(ft, name, of_large_step(loop, which=0 if name == "scan" else 1))


def enlarged(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step`, in a program with many equations more, whose results nobody uses."""

    def larger(*args: Any) -> Any:
        unused = jnp.zeros(2)
        for _ in range(MANY_EQUATIONS):
            unused = jnp.sin(unused)
        return step(*args)

    return larger
