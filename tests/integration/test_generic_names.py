"""What can be subscripted in Equinox can be here: `Layer[T]`, in annotations and as a base."""

import importlib
import json
from pathlib import Path
from typing import Any, Generic, get_origin

import jax.numpy as jnp
import jax.random as jr
import pytest

import equinoctial as eqx
import equinoctial.internal as eqxi

DATA = Path(__file__).parent / "data"
NAMES = json.loads((DATA / "namespace.json").read_text())["namespaces"]
# Of all classes in `namespace.json`, those that Equinox 0.13.8 lets be subscripted with one type.
GENERIC = {
    "equinoctial.AbstractClassVar",
    "equinoctial.AbstractVar",
    "equinoctial.Partial",
    "equinoctial.nn.SpectralNorm",
    "equinoctial.nn.StateIndex",
    "equinoctial.nn.WeightNorm",
    "equinoctial.internal.AbstractClassVar",
    "equinoctial.internal.AbstractProgressMeter",
    "equinoctial.internal.AbstractVar",
    "equinoctial.internal.MaybeBuffer",
    "equinoctial.internal.Static",
}
# Those that are generic here alone, so that type checkers know what is in them.
MORE = {"equinoctial.nn.Lambda", "equinoctial.nn.Sequential", "equinoctial.nn.Shared"}
WITH_ANY_NUMBER = {"equinoctial.nn.Sequential"}
CLASSES = sorted(
    f"{namespace}.{name}"
    for namespace, names in NAMES.items()
    for name, promised in names.items()
    if promised["kind"] == "class"
)


def find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_list_is_of_classes() -> None:
    assert set(CLASSES) >= GENERIC | MORE


@pytest.mark.parametrize("path", CLASSES)
def test_what_is_subscriptable(path: str) -> None:
    found = find(path)
    if path in GENERIC | MORE:
        assert found[int] != found[str]
        if isinstance(found, type) and issubclass(found, Generic):
            assert get_origin(found[int]) is found and found[int].__args__ == (int,)
            if path in WITH_ANY_NUMBER:
                assert found[int, str].__args__ == (int, str)
                return
            with pytest.raises(TypeError, match="[Tt]oo many"):
                _ = found[int, str]
    elif isinstance(found, type):
        with pytest.raises((TypeError, ValueError)):  # An `Enumeration` looks its items up.
            _ = found[int]


Linear = eqx.nn.Linear


class Normed(eqx.Module):
    """As the tutorials annotate their layers."""

    spectral: eqx.nn.SpectralNorm[Linear]
    weight: eqx.nn.WeightNorm[Linear]
    index: eqx.nn.StateIndex[int]


def test_layers_made_through_an_alias_compute_what_the_class_does() -> None:
    linear = Linear(3, 2, key=jr.key(0))
    x = jnp.arange(3.0)
    by_alias = eqx.nn.WeightNorm[Linear](linear)
    assert eqx.tree_equal(by_alias, eqx.nn.WeightNorm(linear))
    assert by_alias(x).tolist() == eqx.nn.WeightNorm(linear)(x).tolist()
    make = eqx.nn.make_with_state(eqx.nn.SpectralNorm[Linear])
    norm, state = make(linear, "weight", key=jr.key(1))
    plain, plain_state = eqx.nn.make_with_state(eqx.nn.SpectralNorm)(
        linear, "weight", key=jr.key(1)
    )
    assert eqx.tree_equal(norm(x, state)[0], plain(x, plain_state)[0])
    assert eqxi.Static[str]("relu").value == "relu"


class Meter(eqxi.AbstractProgressMeter[int]):
    def init(self) -> int:
        return 0

    def step(self, state: int, progress: Any) -> int:
        return state + 1

    def close(self, state: int) -> None: ...


def test_a_subscripted_class_is_a_base() -> None:
    assert Meter().step(Meter().init(), 0.5) == 1 and isinstance(
        Meter(), eqxi.AbstractProgressMeter
    )
