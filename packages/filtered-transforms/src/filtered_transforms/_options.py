"""What `filter_jit` was told: which arrays to donate, and what to pass on to `jax.jit`."""

import dataclasses
import weakref
from typing import Any

import jax.tree_util as jtu

DONATE = ("all", "all-except-first", "warn", "warn-except-first", "none")

_REFUSED = (
    "static_argnums",
    "static_argnames",
    "donate_argnums",
    "donate_argnames",
    "in_shardings",
    "out_shardings",
)


def _frozen(value: Any) -> Any:
    """`value` with dictionaries and lists in it made hashable."""
    if isinstance(value, dict):
        return _Frozen(tuple(sorted((key, _frozen(item)) for key, item in value.items())))
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return value


class _Frozen(tuple[Any, ...]):
    __slots__ = ()


def _thawed(value: Any) -> Any:
    return {key: _thawed(item) for key, item in value} if isinstance(value, _Frozen) else value


@dataclasses.dataclass(frozen=True)
class JitOptions:
    donate: str
    jitkwargs: _Frozen

    @property
    def quiet(self) -> bool:
        """Whether donations that the program cannot use are passed over in silence."""
        return self.donate.startswith("all")

    def jit_arguments(self) -> dict[str, Any]:
        """The keyword arguments for `jax.jit`."""
        return _thawed(self.jitkwargs)

    def donated(
        self, call: tuple[Any, ...], function: weakref.ref[Any] | None, size: int
    ) -> list[bool]:
        """For each leaf of a call, whether it is donated if it is an array."""
        if self.donate == "none":
            return [False] * size
        if not self.donate.endswith("-except-first"):
            return [True] * size
        *fun, args, kwargs = call
        before = jtu.tree_structure(fun).num_leaves
        if len(args) > 0:
            first = jtu.tree_structure(args[0]).num_leaves
        else:
            before, first = _keyword_range(fun[0] if fun else function(), kwargs, before)
        return [not before <= i < before + first for i in range(size)]


def _keyword_range(fun: Any, kwargs: dict[str, Any], before: int) -> tuple[int, int]:
    """Where the leaves of the first parameter begin, and how many they are, if given by keyword."""
    import inspect

    try:
        name = next(iter(inspect.signature(fun).parameters), None)
    except (TypeError, ValueError):
        return before, 0
    for key in sorted(kwargs):
        size = jtu.tree_structure(kwargs[key]).num_leaves
        if key == name:
            return before, size
        before += size
    return before, 0


def jit_options(donate: Any, jitkwargs: dict[str, Any]) -> JitOptions:
    """Checks the arguments of `filter_jit`.

    **Raises:** `ValueError` for an unknown `donate`, or an option of `jax.jit` that goes by the
    number or the name of a parameter.
    """
    if donate not in DONATE:
        raise ValueError(
            f"`filter_jit(..., donate=...)` must be one of 'all', 'all-except-first', 'warn', "
            f"'warn-except-first', or 'none'; got {donate!r}."
        )
    refused = [name for name in _REFUSED if name in jitkwargs]
    if refused:
        raise ValueError(
            f"`jitkwargs` cannot contain {', '.join(map(repr, refused))}: `filter_jit` decides by "
            f"value what is static, and `donate=` says what is donated."
        )
    return JitOptions(donate, _frozen(jitkwargs))
