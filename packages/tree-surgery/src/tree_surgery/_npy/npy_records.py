"""One array as one record of a file, in the `.npy` format of NumPy, and back. Never pickled.

Here is decided what the bytes of a record are and which records are refused. Which record a leaf
becomes is decided in `leaf_specs.py`.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import ast
import io
import math
import struct
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from tree_surgery._errors import SerialiseError
from tree_surgery._streams.byte_streams import aligned_bytes, array_to_bytes, read_all, write_all

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 1 << 16  # a hundred bytes is usual; structured dtypes take more


def write_record(file: IO[bytes], array: np.ndarray[Any, Any]) -> None:
    """Write an array of any shape and of any dtype that is not made of Python objects."""
    if array.dtype.hasobject:
        raise SerialiseError(
            f"an array of Python objects (dtype {array.dtype}) cannot be saved, since that would "
            "need pickle, which is not safe to load. Convert it, or leave it out by `filter_spec`."
        )
    # An array in Fortran order is written as it lies in memory, and the header says so.
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        values = array_to_bytes(array.T)
    else:
        values = array_to_bytes(array)
    header = npy.header_data_from_array_1_0(array)
    start = io.BytesIO()
    try:
        npy.write_array_header_1_0(start, header)
    except ValueError:  # too long for version 1.0, as of a dtype with many fields
        start = io.BytesIO()
        npy.write_array_header_2_0(start, header)
    write_all(file, memoryview(start.getvalue()))
    write_all(file, values)


def read_record_header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Read the header of a record: dtype, shape, and whether the data is in Fortran order."""
    start = _read(file, len(_MAGIC) + 2)
    if start[:-2] != _MAGIC:
        raise SerialiseError("the file is foreign or damaged: there is no array record here.")
    major, minor = start[-2:]
    if major not in (1, 2, 3) or minor != 0:
        raise SerialiseError(f"its record has the unknown version ({major}, {minor}).")
    (size,) = struct.unpack("<H" if major == 1 else "<I", _read(file, 2 if major == 1 else 4))
    if size > _MAX_HEADER:
        raise SerialiseError(f"the header of its record is damaged: it claims {size} bytes.")
    text = _read(file, size)
    try:
        dtype, shape, fortran = _parse_header(text.decode("utf8" if major == 3 else "latin1"))
    except (ValueError, TypeError, SyntaxError, KeyError, MemoryError, RecursionError) as error:
        raise SerialiseError(f"the header of its record is damaged: {error}.") from error
    if dtype.hasobject:
        raise SerialiseError(
            "the file holds a pickled Python object here. It is not read, since loading a pickle "
            "can run any code."
        )
    return dtype, shape, fortran


def _parse_header(text: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Dtype, shape and order from the text of a header, which is a dictionary in Python syntax."""
    header: dict[str, Any] = ast.literal_eval(text.strip())
    descr, shape, fortran = header["descr"], header["shape"], header["fortran_order"]
    sizes = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not sizes or not isinstance(fortran, bool):
        raise ValueError(f"shape {shape!r}, order {fortran!r}")
    # NumPy writes float8_e5m2 as `<f1`, and refuses to read that.
    dtype = np.dtype("V1") if descr == "<f1" else npy.descr_to_dtype(descr)
    return dtype, shape, fortran


def read_record_data(
    file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool
) -> np.ndarray[Any, Any]:
    """Read the values that follow a header, into memory that JAX can take over."""
    data = aligned_bytes(math.prod(shape) * dtype.itemsize)
    _fill(file, data.data)
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    return data.view(dtype).reshape(shape, order="F" if fortran else "C")


def _read(file: IO[bytes], size: int) -> bytes:
    buffer = bytearray(size)
    _fill(file, memoryview(buffer))
    return bytes(buffer)


def _fill(file: IO[bytes], view: memoryview) -> None:
    size = len(view)
    done = read_all(file, view)
    if done < size:
        missing = f", {size - done} of {size} bytes too early" if done else ""
        raise SerialiseError(
            f"the file ends here{missing}. It was cut short, or `like` has more leaves than were "
            "saved."
        )
