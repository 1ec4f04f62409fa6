"""The checksum of a leaf's data, computed by threads while the data is written or read.

Here is decided what the checksum is. Of at most 1 MiB it is the CRC-32 of the data. Of more it is
the CRC-32 of the CRC-32s of its pieces of 1 MiB, as little-endian words of 32 bits, so that several
cores can work on one leaf. Where it stands in the file is decided in
`_safetensors/file_notes.py`.
"""

import os
import zlib
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO

from .byte_streams import PIECE, cut_short_error, read_all, write_all


class Checksums:
    """Moves data and computes its checksum at the same time, on the threads of a pool."""

    __slots__ = ("_pool",)

    def __init__(self, pool: ThreadPoolExecutor):
        self._pool = pool

    def of(self, view: memoryview) -> int:
        """The checksum of `view`."""
        if len(view) <= PIECE:
            return zlib.crc32(view)
        return _combine([self._start(piece) for piece in _pieces(view)])

    def write(self, file: IO[bytes], view: memoryview) -> int:
        """Write `view` to a file, and return its checksum."""
        if len(view) <= PIECE:
            write_all(file, view)
            return zlib.crc32(view)
        parts = [self._start(piece) for piece in _pieces(view)]
        try:
            write_all(file, view)
        finally:
            checksum = _combine(parts)  # waits: the caller may change the array after an error
        return checksum

    def read(self, file: IO[bytes], view: memoryview, what: str) -> int:
        """Fill `view` from a file, and return the checksum. `what` names the data in an error."""
        if len(view) <= PIECE:
            _fill(file, view, what, 0, len(view))
            return zlib.crc32(view)
        parts: list[Future[int]] = []
        for i, piece in enumerate(_pieces(view)):
            _fill(file, piece, what, i * PIECE, len(view))
            parts.append(self._start(piece))
        return _combine(parts)

    def skip(self, file: IO[bytes], size: int, what: str) -> int:
        """Read `size` bytes of a file and drop them, and return their checksum."""
        room = memoryview(bytearray(min(size, PIECE)))
        if size <= PIECE:
            _fill(file, room, what, 0, size)
            return zlib.crc32(room)
        checksums: list[int] = []
        for start in range(0, size, PIECE):
            piece = room[: min(PIECE, size - start)]
            _fill(file, piece, what, start, size)
            checksums.append(zlib.crc32(piece))  # on this thread: the next piece takes its place
        return _checksum_of_pieces(checksums)

    def _start(self, piece: memoryview) -> Future[int]:
        return self._pool.submit(zlib.crc32, piece)


def _combine(parts: list[Future[int]]) -> int:
    return _checksum_of_pieces([part.result() for part in parts])


def _checksum_of_pieces(checksums: list[int]) -> int:
    return zlib.crc32(b"".join(checksum.to_bytes(4, "little") for checksum in checksums))


def _fill(file: IO[bytes], piece: memoryview, what: str, start: int, size: int) -> None:
    """Fill a piece of `what`, which begins at byte `start` of `size`."""
    count = read_all(file, piece)
    if count < len(piece):
        raise cut_short_error(what, size - start - count, size)


def _pieces(view: memoryview) -> list[memoryview]:
    return [view[start : start + PIECE] for start in range(0, len(view), PIECE)]


@contextmanager
def checksum_threads() -> Generator[Checksums]:
    """`Checksums` with at most four threads, which start with the first leaf of more than 1 MiB."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "tree_surgery-checksum") as pool:
        yield Checksums(pool)
