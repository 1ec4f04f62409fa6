"""Bytes moved to and from binary streams of any kind: files, pipes, compressed or user-written.

A stream may take or give fewer bytes than it is asked to. The functions here go on until all bytes
are moved. A stream that ends too early, or whose compressed data is damaged, raises
`SerialiseError`. Memory is allocated for bytes that arrived, never for a size that a file claims.
"""

import io
import sys
import zlib
from typing import IO, Any

import numpy as np

from tree_surgery._errors import SerialiseError

ByteArray = np.ndarray[Any, np.dtype[np.uint8]]
"""An array of one axis of `uint8`, whose memory becomes that of a loaded leaf."""

PIECE = 1 << 20
"""How many bytes are moved at a time. The format depends on it: see `Checksums`."""

# JAX on a CPU takes over the memory of a NumPy array without a copy, but only if it is aligned so.
_ALIGNMENT = 64


def array_to_bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """The values of an array in C order. A copy is made only of an array that is not contiguous."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return memoryview(b"") if flat.nbytes == 0 else flat.view(np.uint8).data


def aligned_bytes(size: int) -> ByteArray:
    """Uninitialised memory of `size` bytes that JAX can take over."""
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size]


def write_all(file: IO[bytes], view: memoryview) -> None:
    """Write all bytes, also to a file without a buffer, which may take only some of them."""
    unbuffered = isinstance(file, io.RawIOBase)
    for start in range(0, len(view), PIECE):
        piece = view[start : start + PIECE]
        count = file.write(piece)
        # Only `io.RawIOBase` promises that `write` returns a count. Other streams take all.
        while unbuffered and count and count < len(piece):
            piece = piece[count:]
            count = file.write(piece)


def read_all(file: IO[bytes], view: memoryview) -> int:
    """Fill `view`, and return the number of bytes read: less than its size if the stream ends."""
    done, size = 0, len(view)
    while done < size:
        try:
            count = _read_some(file, view[done:])
        except (EOFError, zlib.error, *_lzma_errors()) as error:
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
    piece = file.read(min(len(view), PIECE))
    view[: len(piece)] = piece
    return len(piece)


def _lzma_errors() -> tuple[Any, ...]:
    # `lzma` is not imported for this: a stream of that kind has done so, and Python may lack it.
    module = sys.modules.get("lzma")
    return () if module is None else (module.LZMAError,)


def read_exactly(file: IO[bytes], size: int, what: str) -> bytearray:
    """Read `size` bytes, or raise an error that says that `what` is cut short.

    The memory grows with what arrives, since a damaged file may claim any size.
    """
    content = bytearray()
    while len(content) < size:
        piece = bytearray(min(size - len(content), PIECE))
        count = read_all(file, memoryview(piece))
        content += memoryview(piece)[:count]
        if count < len(piece):
            raise cut_short_error(what, size - len(content), size)
    return content


def cut_short_error(what: str, missing: int, size: int) -> SerialiseError:
    """The error for a stream that ended before all `size` bytes of `what` were read."""
    return SerialiseError(f"The file is cut short: {what} lacks {missing} of {size} bytes.")
