"""Files that are replaced as a whole: after any crash, a path has the old file or the new one.

Here is decided where the new file is written, when it is synced to the disk, and how it takes its
name. Every other part of the library writes to the stream that `atomic_write` gives.
"""

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
_SYNC_STEP = 16 << 20  # bytes between two orders to the disk

_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have no `fdatasync`


@contextlib.contextmanager
def atomic_write(path: Path) -> Generator[IO[bytes]]:
    """Open a file for writing that replaces the one at `path` at the end, if nothing was raised.

    The file is written under another name in the same folder, synced to the disk, and renamed. A
    rename is atomic on every file system that JAX runs on, so a crash at any point leaves the old
    file whole. The order matters: a rename before the sync could leave a new name for a file whose
    data is not on the disk. A link stays a link, and a file keeps its mode. Anything but a regular
    file (a pipe, `/dev/null`) is written directly.
    """
    target = Path(os.path.realpath(path))
    mode = target.stat().st_mode if target.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        with target.open("wb") as file:
            yield file
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such folder to save in", str(target.parent))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        raw = _SyncedFile(temporary, "xb")
        with io.BufferedWriter(raw, _BUFFER) as file:
            try:
                yield file
                file.flush()
            finally:
                raw.finish()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        with _free_in_background(target):
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


@contextlib.contextmanager
def _free_in_background(old: Path) -> Generator[None]:
    """Free the disk and memory of a large old file on a thread, after another took its name.

    The system frees a file without a name when its last descriptor is closed. For 1 GB that takes a
    quarter of a second. So a descriptor is held while the file loses its name, and a thread closes
    it.
    """
    descriptor: int | None = None
    if os.name == "posix":  # elsewhere an open file cannot be replaced
        with contextlib.suppress(OSError):  # no such file, or no permission to read it
            descriptor = os.open(old, os.O_RDONLY)
    try:
        yield
    finally:
        if descriptor is not None:
            if os.fstat(descriptor).st_size < _SYNC_STEP:
                os.close(descriptor)
            else:
                threading.Thread(target=os.close, args=(descriptor,), daemon=True).start()


class _SyncedFile(io.FileIO):
    """A file that is synced by a thread while it is written.

    The sync at the end then has little left to wait for: saving 64 MB takes half the time.
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
        if self._pending >= _SYNC_STEP:
            self._pending = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tree_surgery-sync")
                self._thread.daemon = True
                self._thread.start()
            self._orders.put(True)
        return count

    def _run(self) -> None:
        while self._orders.get():
            while not self._orders.empty():  # one sync serves all orders so far
                if not self._orders.get():
                    return
            try:
                _sync_data(self.fileno())
            # Linux reports a failed write once, to the next sync. Were the error dropped here, the
            # sync at the end would succeed, and a damaged file would replace the old one.
            except OSError as error:
                self._failure = error
                return

    def finish(self) -> None:
        """Stop the thread, and raise the error that it met, if any."""
        if self._thread is not None:
            self._orders.put(False)
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            raise self._failure


def _sync_folder(folder: Path) -> None:
    """Bring the new name itself to the disk. Windows has no such call."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
