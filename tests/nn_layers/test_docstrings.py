"""What each docstring says: formula, shapes, initialisation, arguments, source, example."""

import inspect
import re

import pytest

import nn_layers as nn
from pytree_module import Module

CLASSES = {
    n: c for n in nn.__all__ if isinstance(c := getattr(nn, n), type) and issubclass(c, Module)
}
# They hold layers, or state: what they compute is said by what they hold.
CONTAINERS = {"Sequential", "Lambda", "Stacked", "Shared", "StatefulLayer", "StateIndex", "RNN"}
CONTAINERS |= {"Bidirectional"}
NO_SHAPES = CONTAINERS | {"Identity", "WeightNorm", "SpectralNorm"}
NO_PARAMETERS = NO_SHAPES | {"Dropout", "RotaryPositionalEmbedding"}
NO_PARAMETERS |= {name for name in CLASSES if "Pool" in name}
# Older than any paper, or what every library calls so.
NO_SOURCE = CONTAINERS | {"Linear", "Identity", "MLP", "Embedding"}
NO_SOURCE |= {name for name in CLASSES if "Pool" in name}
each = pytest.mark.parametrize("name", CLASSES)


@each
def test_says_what_there_is_to_say(name):
    text = inspect.getdoc(CLASSES[name])
    first = text.split("\n\n")[0]
    assert first.endswith((".", ":")) or "$" in first
    wanted = {"!!! example": True, "**Arguments:**": name != "StatefulLayer"}
    wanted |= {"$": name not in CONTAINERS - {"Sequential", "Lambda"}}
    wanted |= {"**Shapes:**": name not in NO_SHAPES}
    wanted |= {"**Initialisation:**": name not in NO_PARAMETERS}
    wanted |= {"**Source:**": name not in NO_SOURCE}
    missing = [part for part, needed in wanted.items() if needed and part not in text]
    assert not missing


@each
def test_names_each_argument(name):
    text = inspect.getdoc(CLASSES[name])
    parameters = inspect.signature(CLASSES[name]).parameters.values()
    named = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    arguments = text.partition("**Arguments:**")[2]
    assert [p for p in named if not re.search(rf"`{p}`", arguments)] == []


@each
def test_the_call_is_documented(name):
    if "__call__" not in vars(CLASSES[name]):  # inherited, and documented there
        return
    call = CLASSES[name].__call__
    text = inspect.getdoc(call)
    parameters = inspect.signature(call).parameters.values()
    named = [p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_POSITIONAL]
    assert "**Returns:**" in text
    assert [p for p in named if not re.search(rf"\b{p}\b", text)] == []


@pytest.mark.parametrize("name", [n for n in CLASSES if n[-2:] in ("1d", "2d", "3d")])
def test_variants_name_their_own_axes(name):
    ndim = int(name[-2])
    text = inspect.getdoc(CLASSES[name])
    axes = ", ".join({1: ["length"], 2: ["height", "width"], 3: ["depth", "height", "width"]}[ndim])
    channels = "in_channels" if "Conv" in name else "channels"
    assert f"**Shapes:** the input is `({channels}, {axes})`" in text
    assert "num_spatial_dims`:" not in text
    assert "dim_1" not in text
    if "Conv" in name:
        assert f"`bias` `(out_channels, {', '.join('1' * ndim)})`" in text
    assert f"{name}(" in text.partition("!!! example")[2]
