"""The results of `filter_jit(...).trace` and `.lower`: JAX's stages for the user's function."""

from itertools import compress
from typing import Any, NoReturn, Self

import jax.tree_util as jtu

import tree_surgery.extend
from filtered_transforms._filters.eval_shape import abstract_mask, is_abstract
from filtered_transforms._filters.output_structure import Signature
from filtered_transforms._filters.static_leaf import same_static
from filtered_transforms._filters.structure_errors import describe
from filtered_transforms._jax.jitted import program_of
from tree_surgery import path_str

from .check_registry import any_checks, has_checks, translated, wait
from .checked_program import CheckedProgram, FirstCall, read_checks
from .program_cache import CallSplit, Programs


class _Call:
    """The call for which a program was lowered, without its arrays."""

    def __init__(
        self, split: CallSplit, treedef: Any, leaves: list[Any], fun: tuple[Any, ...], quick: bool
    ):
        self.split = split
        self.treedef = treedef
        self.static = list(compress(leaves, split.static))
        self.fun = fun
        self.quick = quick  # the program takes the arguments as they are
        self.bound: tuple[Any, ...] = ()
        self.has_checks = False
        self.carried: Any = None  # the trace with checks as outputs, if there is one

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments of the program for a call like this one.

        **Raises:** `TypeError` if the call has another structure or other static leaves.
        """
        args = (*self.bound, *args)
        leaves, treedef = jtu.tree_flatten((*self.fun, args, kwargs))
        if treedef != self.treedef:
            self._refuse_structure((*self.fun, args, kwargs))
        found = list(compress(leaves, self.split.static))
        for i, (old, new) in enumerate(zip(self.static, found, strict=True)):
            if not same_static(old, new):
                paths = jtu.tree_leaves_with_path((*self.fun, args, kwargs))
                path = list(compress(paths, self.split.static))[i][0]
                raise TypeError(
                    f"A compiled function takes the static values for which it was lowered. At "
                    f"{self._where(path)} it was {old!r}, got {new!r}. Lower it again."
                )
        return args if self.quick else self.split.arguments(leaves)

    def _where(self, path: tuple[Any, ...]) -> str:
        """A path in `(*self.fun, args, kwargs)` as a path in one of these."""
        part = ("function", "args", "kwargs")[path[0].idx + 1 - len(self.fun)]
        return part + (path_str(path[1:]) if path[1:] else "")

    def _refuse_structure(self, tree: Any) -> NoReturn:
        """Raises the error for a call of another structure. `tree`: function and arguments."""
        lowered_for = self.treedef.unflatten([_LEAF] * self.treedef.num_leaves)
        found = tree_surgery.extend.first_difference(lowered_for, tree, static_equal=same_static)
        where = (
            ""
            if found is None
            else (
                f" At {self._where(found.path)} it was {describe(found.one)}, got "
                f"{describe(found.other)}."
            )
        )
        raise TypeError(
            f"A compiled function takes arguments of the structure for which it was lowered.{where}"
            " Lower it again."
        )


class _Leaf:
    """Stands for a leaf in the structure for which a function was lowered."""

    def __repr__(self) -> str:
        return "a leaf"


_LEAF = _Leaf()


class _Stage:
    """A stage of JAX with all its attributes, called like the user's function."""

    def __init__(self, stage: Any, lowered_for: "_Call"):
        self._stage = stage
        self._lowered_for = lowered_for

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._stage, name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *dir(self._stage)})

    def bind(self, instance: Any) -> Self:
        """The stage of a method: the compiled function is called without the instance."""
        self._lowered_for.bound = (instance,)
        return self

    @property
    def out_info(self) -> Any:
        """The result, with shapes and dtypes in place of arrays."""
        found = self._stage.out_info
        return self._result(*(found[0] if self._is_carried() else found))

    def _is_carried(self) -> bool:
        """Whether the stage also returns the values that its checks observed."""
        return self._lowered_for.carried is not None

    def _result(self, out: Any, signature: Signature) -> Any:
        return signature.of_quick(out) if self._lowered_for.quick else signature.result(out)


class Traced(_Stage):
    """A traced program, by `filter_jit(...).trace`; all attributes of `jax.stages.Traced`."""

    def _is_carried(self) -> bool:
        return False  # the original program; its checks become outputs in `lower`

    @classmethod
    def of(cls, programs: Programs, call: tuple[Any, ...]) -> "Traced":
        leaves, treedef = jtu.tree_flatten(call)
        split = programs.split(treedef, leaves, call, abstract_mask(leaves))
        args, kwargs = call[-2:]
        # The program of a call with these arguments, so that the call does not compile it again.
        quick: Any = None if kwargs or not all(map(is_abstract, args)) else programs.quick
        given = args if quick is not None else split.arguments(leaves)
        program = quick or programs.program(split, leaves, call)
        if isinstance(program, FirstCall):
            program = program.chosen(*given)
        traced = program.trace(*given)
        lowered_for = _Call(split, treedef, leaves, call[:-2], quick is not None)
        lowered_for.has_checks = any_checks() and has_checks(program_of(traced))
        if isinstance(program, CheckedProgram):
            lowered_for.carried = program.carried.trace(*given)
        return cls(traced, lowered_for)

    def lower(self, **kwargs: Any) -> "Lowered":
        """As `jax.stages.Traced.lower`."""
        stage = self._lowered_for.carried or self._stage
        return Lowered(stage.lower(**kwargs), self._lowered_for)


class Lowered(_Stage):
    """A lowered program, by `filter_jit(...).lower`; all attributes of `jax.stages.Lowered`."""

    def compile(self, *args: Any, **kwargs: Any) -> "Compiled":
        """As `jax.stages.Lowered.compile`."""
        return Compiled(self._stage.compile(*args, **kwargs), self._lowered_for)


class Compiled(_Stage):
    """A compiled program; all attributes of `jax.stages.Compiled`.

    Called with the arguments for which it was lowered: arrays of the same shapes and dtypes,
    everything else equal.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = self._lowered_for.arguments(args, kwargs)
        try:
            found = self._stage(*given)
            arrays, signature = read_checks(*found) if self._is_carried() else found
            if self._lowered_for.has_checks and not self._is_carried():
                wait(jtu.tree_leaves(arrays))
        except Exception as error:
            found = translated(error)
            if found is None:
                raise
            raise found from None
        return self._result(arrays, signature)
