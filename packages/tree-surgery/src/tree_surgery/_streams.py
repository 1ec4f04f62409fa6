"""Bytes to and from binary streams of any kind: files, pipes, compressed ones, one's own."""

import io
import zlib
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from ._errors import SerialiseError

Buffer = np.ndarray[Any, np.dtype[np.uint8]]

_PIECE = 1 << 22  # at a time: the checksum of one piece is computed while the next is moved
_ALIGNMENT = 64  # JAX takes over an aligned buffer on a CPU as it is, and copies any other


def bytes_of_array(array: np.ndarray[Any, Any]) -> memoryview:
    """The values in C's order, without a copy if they are already."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return memoryview(b"") if flat.nbytes == 0 else flat.view(np.uint8).data


def empty(size: int) -> Buffer:
    """Room for that many bytes."""
    room = np.empty(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size]


def write_all(file: IO[bytes], view: memoryview) -> None:
    """Write all of it, even to a file without a buffer, which may take less at once."""
    raw = isinstance(file, io.RawIOBase)
    for start in range(0, len(view), _PIECE):
        piece = view[start : start + _PIECE]
        while len(piece):
            count = file.write(piece)
            # What streams of other kinds return is anything; they take all.
            piece = piece[count or len(piece) :] if raw else piece[:0]


def read_all(file: IO[bytes], view: memoryview) -> int:
    """Fill the view, even from a stream that gives few bytes at once, and count what came: less
    only where the stream ends."""
    done, size = 0, len(view)
    read_into = getattr(file, "readinto", None)
    while done < size:
        if read_into is not None:
            count = read_into(view[done:])
        else:
            piece = file.read(min(size - done, _PIECE))
            count = len(piece)
            view[done : done + count] = piece
        if not count:
            break
        done += count
    return done


def read_exactly(file: IO[bytes], size: int, what: str) -> bytearray:
    """So many bytes. What is not there is never allocated, whatever size a file claims to have."""
    content = bytearray()
    while len(content) < size:
        piece = bytearray(min(size - len(content), _PIECE))
        count = read_all(file, memoryview(piece))
        content += memoryview(piece)[:count]
        if count < len(piece):
            raise cut_short(what, size - len(content), size)
    return content


def cut_short(what: str, missing: int, size: int) -> SerialiseError:
    return SerialiseError(f"The file is cut short: {what} lacks {missing} of {size} bytes.")


class Checksums:
    """CRC-32 of what is moved, computed beside the moving."""

    __slots__ = ("_pool",)

    def __init__(self, pool: ThreadPoolExecutor):
        self._pool = pool

    def write(self, file: IO[bytes], view: memoryview) -> int:
        """Write all, and return the checksum."""
        if len(view) < _PIECE:
            write_all(file, view)
            return zlib.crc32(view)
        checksum = self._pool.submit(zlib.crc32, view)
        try:
            write_all(file, view)
        finally:
            result = checksum.result()
        return result

    def read(self, file: IO[bytes], view: memoryview, what: str) -> int:
        """Fill the view, and return the checksum."""
        checksum = 0
        running: Future[int] | None = None
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            count = read_all(file, piece)
            if count < len(piece):
                raise cut_short(what, len(view) - start - count, len(view))
            checksum = checksum if running is None else running.result()
            if len(view) < 2 * _PIECE:
                checksum = zlib.crc32(piece, checksum)
            else:
                running = self._pool.submit(zlib.crc32, piece, checksum)
        return checksum if running is None else running.result()

    def skip(self, file: IO[bytes], size: int, what: str) -> int:
        """Pass over so many bytes, and return their checksum."""
        room = memoryview(bytearray(min(size, _PIECE)))
        checksum = 0
        for start in range(0, size, _PIECE):
            piece = room[: min(_PIECE, size - start)]
            count = read_all(file, piece)
            if count < len(piece):
                raise cut_short(what, size - start - count, size)
            checksum = zlib.crc32(piece, checksum)
        return checksum


@contextmanager
def checksums() -> Generator[Checksums]:
    """A thread for checksums, which starts when there is something large to sum up."""
    with ThreadPoolExecutor(1, "tree_surgery-checksum") as pool:
        yield Checksums(pool)
