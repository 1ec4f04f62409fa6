"""Opening the debugger at a check, with the values that the variables there had on the device."""

import os
import threading
from types import FrameType
from typing import Any

import jax.tree_util as jtu

from filtered_transforms import is_array
from pytree_module.extend import user_frames
from runtime_checks._user_frames import SourcePlace


class Scope:
    """The variables of the user's innermost frames, arrays apart from the rest.

    `EQX_ON_ERROR_BREAKPOINT_FRAMES` says how many frames, 1 if unset: all arrays among their
    variables become results of the program.
    """

    def __init__(self) -> None:
        count = int(os.environ.get("EQX_ON_ERROR_BREAKPOINT_FRAMES", "1"))
        found = [frame for _, frame in zip(range(count), user_frames(), strict=False)]
        self.places = [_place(frame) for frame in found]
        self.globals = [frame.f_globals for frame in found]
        leaves, self.treedef = jtu.tree_flatten([dict(frame.f_locals) for frame in found])
        self.arrays = [leaf for leaf in leaves if is_array(leaf)]
        self.size = len(self.arrays)
        self.rest = [None if is_array(leaf) else leaf for leaf in leaves]
        self.mask = [is_array(leaf) for leaf in leaves]
        self.lock = threading.Lock()
        self.arrived = 0

    def detach(self) -> list[Any]:
        """The arrays, traced or not, which the program is to hand back; they are not kept here."""
        arrays, self.arrays = self.arrays, []
        return arrays

    def visit(self, arrays: list[Any]) -> None:
        """Opens the debugger at the line of the check; `up` leads to its callers."""
        given = iter(arrays)
        merged = zip(self.mask, self.rest, strict=True)
        leaves = [next(given, None) if array else rest for array, rest in merged]
        scopes = self.treedef.unflatten(leaves)
        inner: tuple[Any, ...] | None = None
        for place, variables, around in zip(self.places, scopes, self.globals, strict=True):
            inner = _at(place, dict(variables), around, inner)
        if inner is None:
            breakpoint()
        else:
            exec(*inner)

    def visit_once(self, devices: int, arrays: list[Any]) -> None:
        """The same, for the first of several devices to come; the others wait for its end."""
        with self.lock:
            self.arrived += 1
            if self.arrived % devices == 1:
                self.visit(arrays)


def _place(frame: FrameType) -> SourcePlace:
    return SourcePlace(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def _at(
    place: SourcePlace,
    variables: dict[str, Any],
    around: dict[str, Any],
    inner: tuple[Any, ...] | None,
) -> tuple[Any, ...]:
    # A debugger shows the file, the line and the variables of the frame that calls `breakpoint`.
    # So that call is compiled as if it stood at the line of the check; and that of the frame
    # within, as if it stood at the line of the call. What is returned is for `exec`.
    call = "breakpoint()" if inner is None else "__exec__(*__inner__)"
    code = compile("\n" * (place.line - 1) + call, place.file, "exec")
    code = code.replace(co_name=place.function)
    if inner is not None:
        variables |= {"__exec__": exec, "__inner__": inner}
    return code, around, variables
