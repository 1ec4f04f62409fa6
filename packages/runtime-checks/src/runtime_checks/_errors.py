"""What a failed check raises."""

import inspect
from types import FrameType
from typing import Any


class EquinoxRuntimeError(RuntimeError):
    """A run-time check failed: the message says which, and `check_location` where it stands.

    **Attributes:**

    - `message`: the text given to the check.
    - `check_location`: `"file:line in function"` of the check, as far as known.
    - `index`: for a predicate that is an array, mapped or not, the indices of its first failing
        elements, else `()`.
    """

    message: str
    check_location: str
    index: tuple[tuple[int, ...], ...]

    def __init__(
        self,
        message: str,
        check_location: str = "",
        index: tuple[tuple[int, ...], ...] = (),
        note: str = "",
    ):
        self.message = message
        self.check_location = check_location
        self.index = index
        where = f"\nThe check stands at {check_location}." if check_location else ""
        super().__init__(message + note + where)


class EquinoxTracetimeError(EquinoxRuntimeError):
    """A check failed before the program ran, since its predicate was known when it was traced."""


_HIDDEN = frozenset(
    {"runtime_checks", "filtered_transforms", "pytree_module", "jax", "equinoctial"}
)


def user_location() -> str:
    """The nearest caller that is neither ours nor JAX's, as `"file:line in function"`."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        module: Any = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _HIDDEN:
            code = frame.f_code
            return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    return ""
