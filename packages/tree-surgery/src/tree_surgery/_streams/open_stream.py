"""What `path_or_file` means: a path of any kind, or a binary file object.

Here is decided which suffix a path gets, and that a file object is never closed. If reading fails,
a file object goes back to where it was. How a file at a path replaces the old one is decided in
`atomic_write.py`.
"""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from tree_surgery._errors import SerialiseError
from tree_surgery._types import ToRead, ToWrite

from .atomic_write import atomic_write

PathOrFile = ToRead | ToWrite


@contextlib.contextmanager
def open_stream(
    path_or_file: PathOrFile, suffix: str, write: bool
) -> Generator[tuple[IO[bytes], bool]]:
    """The file object to use, and whether it was opened here rather than by the caller.

    `suffix` is appended to a path that has none.
    """
    # Paths are looked for first: those of some libraries have `read` and `write` too.
    if not isinstance(path_or_file, str | bytes | os.PathLike):
        file: Any = path_or_file
        if not hasattr(file, "write" if write else "read"):
            raise TypeError(
                "Expected a path (a string or an `os.PathLike`) or a binary file object, got a "
                f"`{type(path_or_file).__name__}`."
            )
        with contextlib.nullcontext() if write else _rewind_on_error(file):
            yield file, False
        return
    path = with_suffix(path_or_file, suffix)
    with atomic_write(path) if write else path.open("rb") as file:
        try:
            yield file, True
        except SerialiseError as error:
            error.add_note(f"The file is `{path}`.")
            raise


def with_suffix(path: str | bytes | os.PathLike[Any], suffix: str) -> Path:
    """The path of a file, with `suffix` if it has none."""
    found = Path(os.fsdecode(path))
    if found.suffix or is_device(found):
        return found
    return found.with_name(found.name + suffix)


def is_device(path: Path) -> bool:
    """Whether a path exists and is neither a file nor a folder: `/dev/stdout`, or a named pipe."""
    return path.exists() and not (path.is_file() or path.is_dir())


@contextlib.contextmanager
def _rewind_on_error(file: IO[bytes]) -> Generator[None]:
    """Put a file that can seek back to where it was, if an error is raised."""
    start = file.tell() if hasattr(file, "seekable") and file.seekable() else None
    try:
        yield
    except BaseException:
        if start is not None:
            file.seek(start)
        raise
