"""One array as one record of a file, in NumPy's own format (`.npy`), and back. Never pickled.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import math
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ._errors import SerialiseError

_MAGIC = b"\x93NUMPY"


def write_record(file: IO[bytes], array: np.ndarray[Any, Any]) -> None:
    """Write an array of any shape and of any dtype that is not made of Python objects."""
    if array.dtype.hasobject:
        raise SerialiseError(
            f"an array of Python objects (dtype {array.dtype}) cannot be saved, since that would "
            "need pickle, which is not safe to load. Convert it, or leave it out by `filter_spec`."
        )
    npy.write_array(file, array, allow_pickle=False)


def read_record_header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Dtype, shape, and whether the data are in Fortran's order."""
    buffer = bytearray(len(_MAGIC) + 2)
    _fill(file, memoryview(buffer))
    start = bytes(buffer)
    if start[:-2] != _MAGIC:
        raise SerialiseError("the file is foreign or damaged: there is no array record here.")
    version = (start[-2], start[-1])
    try:
        if version == (1, 0):
            shape, fortran, dtype = npy.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = npy.read_array_header_2_0(file)
        else:
            raise ValueError(f"its version is {version}, not (1, 0) or (2, 0)")
    except ValueError as error:
        raise SerialiseError(f"the header of its record cannot be read: {error}.") from error
    if dtype.hasobject:
        raise SerialiseError(
            "the file holds a pickled Python object here. It is not read, since loading a pickle "
            "can run any code."
        )
    return dtype, shape, fortran


def read_record_data(
    file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool
) -> np.ndarray[Any, Any]:
    """The values that follow a header, in an array of their own."""
    data = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    _fill(file, data.data)
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    return data.view(dtype).reshape(shape, order="F" if fortran else "C")


def _fill(file: IO[bytes], view: memoryview) -> None:
    """Read as many bytes as there is room for, even from a stream that gives few at once."""
    done, size = 0, len(view)
    read_into = getattr(file, "readinto", None)
    while done < size:
        if read_into is not None:
            count = read_into(view[done:])
        else:
            piece = file.read(min(size - done, 1 << 24))
            count = len(piece)
            view[done : done + count] = piece
        if not count:
            missing = f", {size - done} of {size} bytes too early" if done else ""
            raise SerialiseError(
                f"the file ends here{missing}. It was cut short, or `like` has more leaves than "
                "were saved."
            )
        done += count
