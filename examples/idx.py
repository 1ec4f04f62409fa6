"""Reads the four files of MNIST, in the IDX format, gzipped or not.

An IDX file is a header (two zero bytes, the element type, the number of axes, then the size of each
axis as a big-endian 32-bit integer) and the elements. MNIST's are all unsigned bytes.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

UNSIGNED_BYTE = 0x08
GZIP = b"\x1f\x8b"


class IdxError(ValueError):
    """A file that is not what its name says."""


def find(folder: Path, name: str) -> Path:
    """The file `name` in `folder`, with or without `.gz`; some copies say `.idx3` for `-idx3`."""
    dotted = name.replace("-idx", ".idx")
    for candidate in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder. It should hold the four files of MNIST.")
    raise FileNotFoundError(
        f"{folder} holds no {name} (nor {name}.gz). It should hold the four files of MNIST: images "
        f"(idx3) and labels (idx1), each for train and for t10k."
    )


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The array of unsigned bytes in an IDX file with this number of axes.

    Raises an `IdxError` that names the file if it is truncated, too long, or something else.
    """
    data = path.read_bytes()
    if data.startswith(GZIP):
        try:
            data = gzip.decompress(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise IdxError(f"{path} is a damaged or truncated gzip file: {error}.") from error
    if len(data) < 4 or data[:2] != b"\0\0":
        raise IdxError(f"{path} is no IDX file: it begins with {data[:4]!r}, not with two zeros.")
    if data[2] != UNSIGNED_BYTE or data[3] != axes:
        raise IdxError(
            f"{path} is an IDX file, but not the one expected: element type 0x{data[2]:02x} and "
            f"{data[3]} axes instead of 0x{UNSIGNED_BYTE:02x} and {axes}."
        )
    header = 4 + 4 * axes
    if len(data) < header:
        raise IdxError(
            f"{path} is truncated: {len(data)} bytes, and the header alone has {header}."
        )
    shape = struct.unpack(f">{axes}I", data[4:header])
    expected = header + math.prod(shape)
    if len(data) != expected:
        fault = "truncated" if len(data) < expected else "too long"
        raise IdxError(
            f"{path} is {fault}: its header promises {' x '.join(map(str, shape))} elements, which "
            f"makes {expected} bytes; it has {len(data)}."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_pair(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `(n, height, width)` and labels `(n,)` of one part, "train" or "t10k"."""
    images_path = find(folder, f"{part}-images-idx3-ubyte")
    labels_path = find(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, axes=3), read_idx(labels_path, axes=1)
    if len(images) != len(labels):
        raise IdxError(
            f"{images_path} holds {len(images)} images, but {labels_path} {len(labels)} labels."
        )
    if len(labels) == 0:
        raise IdxError(f"{labels_path} is empty.")
    if labels.max() > 9:
        raise IdxError(f"{labels_path} holds a label {labels.max()}; digits are 0 to 9.")
    return images, labels
