"""Bytes to and from binary streams of any kind: files, pipes, compressed ones, one's own."""

import io
import os
import sys
import zlib
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from tree_surgery._errors import SerialiseError

Buffer = np.ndarray[Any, np.dtype[np.uint8]]

_PIECE = 1 << 20  # at a time; a part of the format, see `Checksums`
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
    while done < size:
        try:
            count = _read_some(file, view[done:])
        except (EOFError, zlib.error, *_errors_of_lzma()) as error:
            raise SerialiseError(
                f"The compressed stream is cut short or damaged: {error}"
            ) from error
        if not count:
            break
        done += count
    return done


def _read_some(file: IO[bytes], view: memoryview) -> int:
    read_into = getattr(file, "readinto", None)
    if read_into is not None:
        return read_into(view)
    piece = file.read(min(len(view), _PIECE))
    view[: len(piece)] = piece
    return len(piece)


def _errors_of_lzma() -> tuple[Any, ...]:
    # Whoever reads such a stream has imported it; Python may be built without.
    module = sys.modules.get("lzma")
    return () if module is None else (module.LZMAError,)


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
    """Checksums of what is moved, computed beside the moving.

    That of at most 1 MiB is its CRC-32; that of more is the CRC-32 of those of its pieces of 1 MiB,
    as little-endian words, so that several cores can work on it.
    """

    __slots__ = ("_pool",)

    def __init__(self, pool: ThreadPoolExecutor):
        self._pool = pool

    def of(self, view: memoryview) -> int:
        """The checksum."""
        return self._combined([self._start(view, piece) for piece in _pieces(view)])

    def write(self, file: IO[bytes], view: memoryview) -> int:
        """Write all, and return the checksum."""
        parts = [self._start(view, piece) for piece in _pieces(view)]
        try:
            write_all(file, view)
        finally:
            checksum = self._combined(parts)  # nobody reads the view any more from here on
        return checksum

    def read(self, file: IO[bytes], view: memoryview, what: str) -> int:
        """Fill the view, and return the checksum."""
        parts: list[int | Future[int]] = []
        done = 0
        for piece in _pieces(view):
            count = read_all(file, piece)
            done += count
            if count < len(piece):
                raise cut_short(what, len(view) - done, len(view))
            parts.append(self._start(view, piece))
        return self._combined(parts)

    def skip(self, file: IO[bytes], size: int, what: str) -> int:
        """Pass over so many bytes, and return their checksum."""
        room = memoryview(bytearray(min(size, _PIECE)))
        parts: list[int | Future[int]] = []
        for start in range(0, size, _PIECE):
            piece = room[: min(_PIECE, size - start)]
            count = read_all(file, piece)
            if count < len(piece):
                raise cut_short(what, size - start - count, size)
            parts.append(zlib.crc32(piece))
        return self._combined(parts)

    def _start(self, view: memoryview, piece: memoryview) -> "int | Future[int]":
        alone = len(view) <= _PIECE
        return zlib.crc32(piece) if alone else self._pool.submit(zlib.crc32, piece)

    def _combined(self, parts: "list[int | Future[int]]") -> int:
        values = [part if isinstance(part, int) else part.result() for part in parts]
        if len(values) == 1:
            return values[0]
        return zlib.crc32(b"".join(value.to_bytes(4, "little") for value in values))


def _pieces(view: memoryview) -> list[memoryview]:
    return [view[start : start + _PIECE] for start in range(0, len(view), _PIECE)]


@contextmanager
def checksums() -> Generator[Checksums]:
    """Threads for checksums, which start when there is something large to sum up."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "tree_surgery-checksum") as pool:
        yield Checksums(pool)
