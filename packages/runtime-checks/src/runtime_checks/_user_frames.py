"""Where in the user's code we are, as a place that can be kept and shown."""

import linecache
from typing import NamedTuple

from pytree_module.extend import user_frames

_SHOWN = 4


class SourcePlace(NamedTuple):
    """A line of the user's source."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"

    def listing(self) -> str:
        """The line as Python shows it in a traceback."""
        source = linecache.getline(self.file, self.line).strip()
        head = f'  File "{self.file}", line {self.line}, in {self.function}'
        return f"{head}\n    {source}" if source else head


def places(limit: int = _SHOWN) -> tuple[SourcePlace, ...]:
    """The lines of the user's that led here, innermost first."""
    found: list[SourcePlace] = []
    for frame in user_frames():
        found.append(SourcePlace(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        if len(found) == limit:
            break
    return tuple(found)
