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
            f"an array of Python objects (dtype {array.dtype}) cannot be saved, since that would need "
            "pickle, which is not safe to load. Convert it, or leave it out with `filter_spec`."
        )
    npy.write_array(file, array, allow_pickle=False)


def read_record_header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Dtype, shape, and whether the data are in Fortran's order."""
    start = _read(file, len(_MAGIC) + 2)
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
            "the file holds a pickled Python object here. It is not read, since loading a pickle can "
            "run any code."
        )
    return dtype, shape, fortran


def read_record_data(
    file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool
) -> np.ndarray[Any, Any]:
    """The values that follow a header, in an array of their own."""
    data = np.frombuffer(_read(file, math.prod(shape) * dtype.itemsize), np.uint8)
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    return data.view(dtype).reshape(shape, order="F" if fortran else "C")


def _read(file: IO[bytes], size: int) -> bytearray:
    """Exactly so many bytes, even from a stream that hands them out in pieces."""
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    while done < size:
        # In pieces: a damaged header cannot make us ask for more than the file has.
        piece = file.read(min(size - done, 1 << 26))
        if not piece:
            raise SerialiseError(
                "the file ends here"
                + (f", {size - done} bytes too early" if done else "")
                + ". It was cut short, or `like` has more leaves than were saved."
            )
        view[done : done + len(piece)] = piece
        done += len(piece)
    return data
