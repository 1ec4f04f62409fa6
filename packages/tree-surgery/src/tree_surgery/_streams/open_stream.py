"""A path, of any kind, or a binary file object: the stream to write to or to read from."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from tree_surgery._errors import SerialiseError
from tree_surgery._types import ToRead, ToWrite

from .atomic_write import replacing

SUFFIX = ".safetensors"  # of files in which leaves have names
PathOrFile = ToRead | ToWrite


@contextlib.contextmanager
def open_stream(
    path_or_file: PathOrFile, suffix: str, write: bool
) -> Generator[tuple[IO[bytes], bool]]:
    """The file object to use, and whether it is ours rather than the caller's."""
    # Paths first: some kinds of them can read and write too.
    if not isinstance(path_or_file, str | bytes | os.PathLike):
        file: Any = path_or_file
        if not hasattr(file, "write" if write else "read"):
            raise TypeError(
                "Expected a path (a string or an `os.PathLike`) or a binary file object, got a "
                f"`{type(path_or_file).__name__}`."
            )
        with contextlib.nullcontext() if write else _rewinding(file):
            yield file, False
        return
    path = Path(os.fsdecode(path_or_file))
    if not path.suffix and not _is_device(path):
        path = path.with_name(path.name + suffix)
    with replacing(path) if write else path.open("rb") as file:
        try:
            yield file, True
        except SerialiseError as error:
            error.add_note(f"The file is `{path}`.")
            raise


def _is_device(path: Path) -> bool:
    """Whether it is there already, and neither file nor folder: `/dev/stdout`, or a named pipe."""
    return path.exists() and not (path.is_file() or path.is_dir())


@contextlib.contextmanager
def _rewinding(file: IO[bytes]) -> Generator[None]:
    """Whoever fails to read leaves the file where it was, if it can be."""
    start = file.tell() if hasattr(file, "seekable") and file.seekable() else None
    try:
        yield
    except BaseException:
        if start is not None:
            file.seek(start)
        raise
