"""Where in the user's code we are: frames that are neither ours nor JAX's."""

import inspect
import linecache
import os
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

_HIDDEN = frozenset(
    {
        "runtime_checks",
        "nn_layers",
        "filtered_transforms",
        "pytree_module",
        "tree_surgery",
        "equinoctial",
        "jax",
        "jaxtyping",
        "contextlib",
    }
)
_SHOWN = 4
# Frames of which only the file is known: those of the packages above, and of JAX's compiled part.
_FOLDERS = tuple(f"/{name}/" for name in sorted(_HIDDEN))


class Place(NamedTuple):
    """A line of the user's."""

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


def frames() -> Iterator[FrameType]:
    """The user's frames, innermost first."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        module: object = frame.f_globals.get("__name__", "")
        if str(module).partition(".")[0] not in _HIDDEN:
            yield frame
        frame = frame.f_back


def places(limit: int = _SHOWN) -> tuple[Place, ...]:
    """The lines of the user's that led here, innermost first."""
    found: list[Place] = []
    for frame in frames():
        found.append(Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        if len(found) == limit:
            break
    return tuple(found)


def is_hidden_file(file: str) -> bool:
    """Whether a file is ours or JAX's."""
    path = file.replace(os.sep, "/")
    return any(f"/src{folder}" in path or f"/site-packages{folder}" in path for folder in _FOLDERS)
