"""Files that are either whole or as they were."""

import contextlib
import errno
import io
import os
import queue
import secrets
import stat
import threading
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

_BUFFER = 1 << 20
_STEP = 16 << 20  # bytes between two times that the disk is told to begin

_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have no `fdatasync`


@contextlib.contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """Open a file for writing that takes its place at `path` at the end, if nothing was raised.

    It is written under another name in the same folder, brought to the disk, and renamed, which is
    one step on every file system that JAX runs on. A crash at any point leaves the old file whole.
    A link stays a link. What is no regular file (a pipe, `/dev/null`) is written directly.
    """
    target = Path(os.path.realpath(path))
    mode = target.stat().st_mode if target.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        with target.open("wb") as file:
            yield file
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such folder to save in", str(target.parent))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        raw = _SyncedFile(beside, "xb")
        with io.BufferedWriter(raw, _BUFFER) as file:
            try:
                yield file
                file.flush()
            finally:
                raw.finish()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(beside, stat.S_IMODE(mode))
        with _freed_later(target):
            os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise
    _sync_folder(target.parent)


@contextlib.contextmanager
def _freed_later(old: Path) -> Generator[None]:
    """What a large old file took of disk and memory is given back beside what comes next.

    The system does that when nobody has the file open any more, and for 1 GB it takes it a quarter
    of a second. So it is kept open while the new one takes its name, and closed by a thread.
    """
    descriptor: int | None = None
    if os.name == "posix":  # elsewhere a file that is open cannot be replaced
        with contextlib.suppress(OSError):  # there is none, or it is not ours to read
            descriptor = os.open(old, os.O_RDONLY)
    try:
        yield
    finally:
        if descriptor is not None:
            if os.fstat(descriptor).st_size < _STEP:
                os.close(descriptor)
            else:
                threading.Thread(target=os.close, args=(descriptor,), daemon=True).start()


class _SyncedFile(io.FileIO):
    """A file that the disk begins to write while there is more to come.

    The sync at the end then has little left to wait for: it takes half the time for 64 MB.
    """

    def __init__(self, path: Path, mode: str):
        super().__init__(path, mode)
        self._pending = 0
        self._failure: OSError | None = None
        self._orders: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def write(self, data: Any, /) -> int:
        count = super().write(data)
        self._pending += count
        if self._pending >= _STEP:
            self._pending = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tree_surgery-sync")
                self._thread.daemon = True
                self._thread.start()
            self._orders.put(True)
        return count

    def _run(self) -> None:
        while self._orders.get():
            while not self._orders.empty():  # one sync for all that was ordered meanwhile
                if not self._orders.get():
                    return
            try:
                _sync_data(self.fileno())
            except OSError as error:  # Linux tells of a broken disk once: not again at the end
                self._failure = error
                return

    def finish(self) -> None:
        """Stop syncing beside, and raise what came of it."""
        if self._thread is not None:
            self._orders.put(False)
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            raise self._failure


def _sync_folder(folder: Path) -> None:
    """The new name itself must reach the disk. Windows has no such thing."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
