"""The options of `filter_jit`: which arrays to donate, and what to pass on to `jax.jit`."""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import jax.tree_util as jtu

import tree_surgery
from filtered_transforms._placement.hashable_tree import HashableTree
from filtered_transforms._placement.placements import is_place
from tree_surgery import path_str

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
    """A dictionary as the tuple of its items, sorted by key."""

    __slots__ = ()


def _thawed(value: Any) -> Any:
    return {key: _thawed(item) for key, item in value} if isinstance(value, _Frozen) else value


@dataclasses.dataclass(frozen=True)
class JitOptions:
    """The options of `filter_jit` or `filter_pmap`, checked and hashable."""

    donate: str | tuple[str, ...]
    jitkwargs: _Frozen
    in_shardings: HashableTree | None = None
    out_shardings: HashableTree | None = None

    @property
    def quiet(self) -> bool:
        """Whether donations that the program cannot use are skipped without a warning."""
        return isinstance(self.donate, str) and self.donate.startswith("all")

    @property
    def places(self) -> bool:
        """Whether there are `in_shardings` or `out_shardings`."""
        return self.in_shardings is not None or self.out_shardings is not None

    def jit_arguments(self) -> dict[str, Any]:
        """The keyword arguments for `jax.jit`."""
        return _thawed(self.jitkwargs)

    def check(self, fun: Any) -> None:
        """**Raises:** `ValueError` if `donate` names a parameter that `fun` does not have."""
        if isinstance(self.donate, str):
            return
        unknown = set(self.donate) - parameters_of(fun).keys()
        if unknown:
            raise ValueError(
                f"`donate` names {', '.join(sorted(map(repr, unknown)))}, which the function has "
                f"no parameter for; it has {', '.join(map(repr, parameters_of(fun)))}."
            )

    def donated(self, fun: Any, call: tuple[Any, ...], size: int) -> list[bool]:
        """For each leaf of a call of `fun`, whether it is donated if it is an array."""
        if self.donate == "none":
            return [False] * size
        if self.donate in ("all", "warn"):
            return [True] * size
        *function, args, kwargs = call
        before = jtu.tree_structure(function).num_leaves
        ranges = list(_ranges(fun, args, kwargs, before))
        if isinstance(self.donate, str):
            first = next((where for is_first, _, where in ranges if is_first), range(0))
            return [i not in first for i in range(size)]
        given = [where for _, name, where in ranges if name in self.donate]
        return [any(i in where for where in given) for i in range(size)]


def parameters_of(fun: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function, by name; empty if they are unknown."""
    try:
        return inspect.signature(fun).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        return {}


def _ranges(
    fun: Any, args: tuple[Any, ...], kwargs: dict[str, Any], start: int
) -> Iterator[tuple[bool, str | None, range]]:
    """For each argument: is it the first parameter, its parameter name, and the range of its leaf
    indices."""
    for is_first, name, arg in arguments_of(fun, args, kwargs):
        stop = start + jtu.tree_structure(arg).num_leaves
        yield is_first, name, range(start, stop)
        start = stop


def arguments_of(
    fun: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[bool, str | None, Any]]:
    """The arguments of a call, in the order in which JAX flattens them.

    For each: is it the first parameter, its parameter name, and the argument.
    """
    parameters = list(parameters_of(fun).values())
    first = parameters[0].name if parameters else None
    rest = _name_of(inspect.Parameter.VAR_POSITIONAL, parameters)
    others = _name_of(inspect.Parameter.VAR_KEYWORD, parameters)
    positional = [p.name for p in parameters if p.kind in _POSITIONAL]
    for i, arg in enumerate(args):
        yield i == 0, positional[i] if i < len(positional) else rest, arg
    names = {p.name for p in parameters}
    for key in sorted(kwargs):
        yield not args and key == first, key if key in names else others, kwargs[key]


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _name_of(kind: Any, parameters: list[inspect.Parameter]) -> str | None:
    return next((p.name for p in parameters if p.kind is kind), None)


def jit_options(
    donate: Any, jitkwargs: dict[str, Any], in_shardings: Any = None, out_shardings: Any = None
) -> JitOptions:
    """Checks the arguments of `filter_jit`.

    **Raises:** `ValueError` for an unknown `donate`, or an option of `jax.jit` that refers to
    parameters by number or name.
    """
    if isinstance(donate, (tuple, list)) and all(isinstance(name, str) for name in donate):
        donate = tuple(donate)
    elif donate not in DONATE:
        raise ValueError(
            f"`filter_jit(..., donate=...)` must be one of 'all', 'all-except-first', 'warn', "
            f"'warn-except-first', or 'none', or a tuple of names of parameters; got {donate!r}."
        )
    refused = [name for name in _REFUSED if name in jitkwargs]
    if refused:
        raise ValueError(
            f"`jitkwargs` cannot contain {', '.join(map(repr, refused))}: `filter_jit` decides by "
            f"value what is static, and `donate=` says what is donated."
        )
    return JitOptions(
        donate,
        _frozen(jitkwargs),
        _places("in_shardings", in_shardings),
        _places("out_shardings", out_shardings),
    )


def _places(name: str, given: Any) -> HashableTree | None:
    if given is None:
        return None
    for path, leaf in jtu.tree_leaves_with_path(given):
        if not (is_place(leaf) or callable(leaf) or isinstance(leaf, tree_surgery.ShardingRules)):
            raise TypeError(
                f"`filter_jit({name}=...)` consists of shardings, specs, devices, None, rules, and "
                f"functions that return one of these; at {path_str(path)} it has a "
                f"{type(leaf).__name__}: {leaf!r}."
            )
    return HashableTree(given)
