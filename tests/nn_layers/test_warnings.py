"""A warning of a layer points at the user's line that is to be mended, whatever lies between."""

import ast
import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import nn_layers as nn
from filtered_transforms import filter_jit, filter_vmap
from pytree_module import Module, field

KEY = jax.random.key(0)
X = jnp.ones((2, 4))
LINES = pathlib.Path(__file__).read_text().splitlines()


def line_of(mark: str) -> int:
    (line,) = (i + 1 for i, text in enumerate(LINES) if text.endswith(f"# the line: {mark}"))
    return line


class OldBatchNorm(nn.BatchNorm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)  # the line: OldBatchNorm


class OldDropout(nn.Dropout):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)  # the line: OldDropout

    def __call__(self, *args: Any, **kwargs: Any):
        return super().__call__(*args, **kwargs)  # the line: calls OldDropout


class OldLayerNorm(nn.LayerNorm):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)  # the line: OldLayerNorm


class OldAttention(nn.MultiheadAttention):
    def __call__(self, *args: Any, **kwargs: Any):
        return super().__call__(*args, **kwargs)  # the line: calls OldAttention


class Inherits(nn.BatchNorm):
    pass


CONSTRUCTORS: dict[str, tuple[Any, Any, tuple[Any, ...], dict[str, Any]]] = {
    "without `mode`": (nn.BatchNorm, OldBatchNorm, (3, "batch"), {}),
    "without `mode`, inherited": (Inherits, OldBatchNorm, (3, "batch"), {}),
    "`deterministic`": (nn.Dropout, OldDropout, (0.5,), {"deterministic": True}),
    "elementwise_affine": (nn.LayerNorm, OldLayerNorm, (4,), {"elementwise_affine": False}),
}
CALLS: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {
    "`deterministic`": (nn.Dropout(0.5), OldDropout(0.5), (X,)),
    "`deterministic` `inference`": (
        nn.MultiheadAttention(2, 4, key=KEY),
        OldAttention(2, 4, key=KEY),
        (X, X, X),
    ),
}


def told(message: str, run: Callable[[], Any]) -> tuple[str, int]:
    """Where the one warning that comes points to."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    (warning,) = caught
    assert message.partition(",")[0] in str(warning.message)
    return warning.filename, warning.lineno


WAYS: dict[str, Callable[[Any], Any]] = {
    "directly": lambda make: make(),  # the line: directly
    "make_with_state": lambda make: nn.make_with_state(make)(),  # the line: make_with_state
    "filter_vmap": lambda make: filter_vmap(make, axis_size=2)(),  # the line: filter_vmap
    "both": lambda make: filter_vmap(nn.make_with_state(make), axis_size=2)(),  # the line: both
    "filter_jit": lambda make: filter_jit(make)(),  # the line: filter_jit
    "a partial of a partial": lambda make: functools.partial(  # the line: a partial of a partial
        functools.partial(make)
    )(),
}


@pytest.mark.parametrize("message", CONSTRUCTORS)
@pytest.mark.parametrize("way", WAYS)
def test_a_constructor_points_at_who_makes_the_layer(message, way):
    layer, subclass, args, kwargs = CONSTRUCTORS[message]
    make = functools.partial(layer, *args, **kwargs)
    assert told(message, lambda: WAYS[way](make)) == (__file__, line_of(way))
    # A subclass is the user's: its `__init__` is to be mended, not who calls it.
    make = functools.partial(subclass, *args, **kwargs)
    assert told(message, lambda: WAYS[way](make)) == (__file__, line_of(subclass.__name__))


def test_a_field_points_at_who_makes_the_model():
    class Net(Module):
        norm: nn.BatchNorm = field(default_factory=functools.partial(nn.BatchNorm, 3, "batch"))

    where = told("without `mode`", lambda: Net())  # the line: a field
    assert where == (__file__, line_of("a field"))


def test_a_copy_points_at_who_makes_it():
    norm = nn.BatchNorm(3, "batch", mode="ema")

    class Net(Module):
        norm: nn.BatchNorm

        def __init__(self, norm: Any):
            self.norm = nn.BatchNorm(3, "batch")  # the line: in the model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Net(norm)
    where = told("without `mode`", lambda: dataclasses.replace(net, norm=norm))
    assert where == (__file__, line_of("in the model"))


def call_directly(layer, args):
    return layer(*args, key=KEY, deterministic=True)  # the line: call_directly


def call_in_filter_jit(layer, args):
    return filter_jit(layer)(*args, key=KEY, deterministic=True)  # the line: call_in_filter_jit


def call_in_vmap(layer, args):
    batch = [x[None] for x in args]
    return filter_vmap(
        lambda *args: layer(*args, key=KEY, deterministic=True)  # the line: call_in_vmap
    )(*batch)


@pytest.mark.parametrize("message", CALLS)
@pytest.mark.parametrize("way", [call_directly, call_in_filter_jit, call_in_vmap])
def test_a_call_points_at_who_calls_the_layer(message, way):
    layer, subclass, args = CALLS[message]
    assert told(message, lambda: way(layer, args)) == (__file__, line_of(way.__name__))
    mark = f"calls {type(subclass).__name__}"
    assert told(message, lambda: way(subclass, args)) == (__file__, line_of(mark))


def test_each_is_shown_once_for_a_line():
    """As every warning: Python's own filter, not every step of a training."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            nn.Dropout(0.5, deterministic=True)
        nn.Dropout(0.5, deterministic=True)
    assert len(caught) == 2


def test_no_layer_counts_frames_itself():
    """So that the table above is of all warnings, and the next one points there too."""
    counted = 0
    for file in pathlib.Path(nn.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called != "warnings.warn", file
                counted += called == "warn_user"
    assert counted == 5  # BatchNorm, LayerNorm, MultiheadAttention, Dropout made and called
