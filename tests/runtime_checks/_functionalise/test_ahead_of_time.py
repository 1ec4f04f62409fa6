"""A program compiled ahead of time is what a call then runs, with checks in it too."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_jit, is_array
from pytree_module import Module
from runtime_checks import EquinoxRuntimeError, error_if

X = jnp.arange(3.0)
TRACES: list[str] = []


class Model(Module):
    weight: jax.Array
    name: str = "model"
    rate: float = 0.5

    def __call__(self, x: jax.Array, *, key: Any = None) -> Any:
        TRACES.append("call")
        return error_if(x, x < 0, "negative input") * self.weight, self.name

    def plain(self, x: jax.Array) -> Any:
        TRACES.append("plain")
        return x * self.weight, self.rate

    @filter_jit(donate="all-except-first")
    def decorated(self, x: jax.Array, flag: bool = True) -> Any:
        return self(x), flag


def ahead_of_time(x: jax.Array) -> jax.Array:
    TRACES.append("arrays")
    return error_if(x, x < 0, "negative input") * 2


def of_model(model: Model, x: jax.Array, **options: Any) -> Any:
    return model(x), options


def without_checks(model: Model, x: jax.Array) -> Any:
    return model.plain(x)


def deep(model: Model, x: jax.Array) -> Any:
    return jax.lax.scan(lambda c, _: (model(c)[0], None), x, None, length=3)[0], model.name


Case = tuple[Callable[[Model], Any], Callable[[Model, Any], tuple[Any, ...]], dict[str, Any], bool]
CASES: dict[str, Case] = {
    "arrays alone": (lambda m: filter_jit(ahead_of_time), lambda m, x: (x,), {}, True),
    "a module": (lambda m: filter_jit(m), lambda m, x: (x,), {}, True),
    "by keyword": (lambda m: filter_jit(m), lambda m, x: (x,), {"key": None}, True),
    "a method": (lambda m: filter_jit(m.plain), lambda m, x: (x,), {}, False),
    "a decorated method": (lambda m: m.decorated, lambda m, x: (x,), {"flag": False}, True),
    "a model": (lambda m: filter_jit(of_model), lambda m, x: (m, x), {"s": "text"}, True),
    "no checks": (lambda m: filter_jit(without_checks), lambda m, x: (m, x), {}, False),
    "in a loop": (lambda m: filter_jit(deep), lambda m, x: (m, x), {}, True),
    **{
        f"donate {donate!r}": (
            lambda m, donate=donate: filter_jit(of_model, donate=donate),
            lambda m, x: (m, x),
            {},
            True,
        )
        for donate in ("all", "warn", "all-except-first", ("x",))
    },
}


def same(x: Any, y: Any) -> None:
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_array_equal(a, b) if is_array(a) else None
        assert is_array(a) or a == b


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")  # "warn" asks for it
@pytest.mark.parametrize("abstract", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_it_is_traced_and_compiled_once(
    case: str, abstract: bool, caplog: pytest.LogCaptureFixture
):
    function, arguments, kwargs, has_check = CASES[case]

    def concrete() -> tuple[Model, jax.Array]:  # anew, since they may be donated
        return Model(jnp.arange(3.0) + 2), jnp.arange(3.0)

    def compilations() -> int:
        return sum(r.getMessage().startswith("Compiling") for r in caplog.records)

    jax.clear_caches()
    model, x = concrete()
    shapes = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype) if is_array(a) else a, (model, x)
    )
    given = arguments(*(shapes if abstract else (model, x)))
    TRACES.clear()
    with jax.log_compiles(True):
        caplog.clear()
        lowered = function(model).lower(*given, **kwargs)
        compiled = lowered.compile()
        assert (len(TRACES), compilations()) == (1, 1)
        out = function(model)(*arguments(model, x), **kwargs)
        jax.block_until_ready([leaf for leaf in jax.tree.leaves(out) if is_array(leaf)])
        assert (len(TRACES), compilations()) == (1, 1)
    model, x = concrete()
    same(compiled(*arguments(model, x), **kwargs), out)
    if has_check:
        for run in (compiled, function(model)):
            model, x = concrete()
            with pytest.raises(EquinoxRuntimeError, match="negative input"):
                run(*arguments(model, x - 1), **kwargs)


def test_what_is_known_of_the_stages():
    lowered = filter_jit(of_model).lower(Model(X), X, s="text")
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    assert lowered.out_info == ((shape, "model"), {"s": "text"})
    assert "custom_call" not in lowered.as_text()  # the check is a result: nothing calls back
    traced = filter_jit(of_model).trace(Model(X), X)
    assert traced.out_info == ((shape, "model"), {})
    assert "check" in str(traced.jaxpr)
