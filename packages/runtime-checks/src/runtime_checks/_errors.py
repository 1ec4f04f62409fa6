"""What a failed check raises."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._frames import Place

_NEXT = (
    "To look at the values there, run with EQX_ON_ERROR=breakpoint. To go on without the check, "
    'use `with checks("off"):`, or `checks("nan")` for NaN instead of an exception.'
)


def _text(value: Any) -> str:
    return np.array2string(np.asarray(value), threshold=20)


class EquinoxRuntimeError(RuntimeError):
    """A run-time check failed: the message says which, and `check_location` where it stands.

    **Attributes:**

    - `message`: the text given to the check.
    - `check_location`: `"file:line in function"` of the check, as far as known.
    - `index`: for a predicate that is an array, mapped or not, the indices of its first failing
        elements, else `()`.
    - `values`: the values that the check was asked to show, by name; those of the first failing
        element, if the check is mapped.
    """

    message: str
    check_location: str
    index: tuple[tuple[int, ...], ...]
    values: Mapping[str, Any]

    def __init__(
        self,
        message: str,
        places: tuple[Place, ...] = (),
        index: tuple[tuple[int, ...], ...] = (),
        values: Mapping[str, Any] | None = None,
        note: str = "",
    ):
        self.message = message
        self.check_location = str(places[0]) if places else ""
        self.index = index
        self.values = {} if values is None else values
        self._rest = (places, index, self.values, note)
        shown = "".join(f"\n{name} = {_text(value)}" for name, value in self.values.items())
        where = ""
        if places:
            lines = "\n".join(place.listing() for place in reversed(places))
            where = f"\nThe check stands here (innermost last):\n{lines}\n{_NEXT}"
        super().__init__(message + note + shown + where)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, *self._rest)


class EquinoxTracetimeError(EquinoxRuntimeError):
    """A check failed before the program ran, since its predicate was known when it was traced."""
