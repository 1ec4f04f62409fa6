"""What a file of cases is made of.

`cases_<distribution>.py` defines `cases() -> list[Case | Absolute]`.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

Thunk = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """The same work, done by us and by others. Each callable does it once and takes no arguments.

    `limit`: the ratio of our median to the peer's, at most. `others` (column -> callable) stand
    beside it in the table, such as "flax.nnx" or "flat jax.jit"; `limits` (column -> the ratio of
    our median to that column's, at most) judges against them. A callable whose work is
    asynchronous waits for it itself, if waiting is part of what is compared. With `own_clock` the
    callables return the seconds that count, because not all that they do is to be timed.
    """

    name: str
    ours: Thunk
    peer: Thunk | None = None
    limit: float | None = None
    others: Mapping[str, Thunk] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    own_clock: bool = False


@dataclass(frozen=True)
class Absolute:
    """A statement timed alone in fresh processes, after `setup` ran there: for import times."""

    name: str
    statement: str
    setup: str = "pass"
    limit_ms: float | None = None
    peer_statement: str | None = None
    limit: float | None = None  # the ratio of our median to the peer's, at most


def peer() -> ModuleType | None:
    """Equinox, where it is installed (the `bench` environment)."""
    if importlib.util.find_spec("equinox") is None:
        return None
    return importlib.import_module("equinox")


NNX = "flax.nnx"


def nnx() -> ModuleType | None:
    """flax.nnx, where it is installed (the `bench` environment)."""
    if importlib.util.find_spec("flax") is None:
        return None
    return importlib.import_module("flax.nnx")
