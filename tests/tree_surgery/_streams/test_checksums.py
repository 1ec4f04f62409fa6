"""The checksum of a leaf of several pieces, by each way in which it is written and read."""

import io
import json
import zlib

import numpy as np
import pytest

from tree_surgery import SerialiseError, load, save

PIECE = 1 << 20
SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5]


def expected_checksum(data):
    """The format, written down once more: files that were saved must stay readable."""
    if len(data) <= PIECE:
        return f"{zlib.crc32(data):08x}"
    pieces = [data[i : i + PIECE] for i in range(0, len(data), PIECE)]
    words = b"".join(zlib.crc32(piece).to_bytes(4, "little") for piece in pieces)
    return f"{zlib.crc32(words):08x}"


@pytest.mark.parametrize("size", SIZES)
def test_the_checksum_that_is_written(tmp_path, size):
    x = np.resize(np.arange(251, dtype=np.uint8), size)
    file = io.BytesIO()
    save(file, {"x": x})  # to a stream the data is read twice, to a path once
    save(tmp_path / "m", {"x": x})
    assert (tmp_path / "m.safetensors").read_bytes() == file.getvalue()
    length = int.from_bytes(file.getvalue()[:8], "little")
    header = json.loads(file.getvalue()[8 : 8 + length])
    notes = json.loads(header["__metadata__"]["tree_surgery"])
    assert notes["crc32"] == {"x": expected_checksum(x.tobytes())}


@pytest.mark.parametrize("size", SIZES)
def test_a_leaf_is_checked_whether_it_is_loaded_or_not(size):
    x = np.resize(np.arange(251, dtype=np.uint8), size)
    file = io.BytesIO()
    save(file, {"x": x})
    data = file.getvalue()

    def loaded(content):
        return load(io.BytesIO(content), {"x": np.empty_like(x)})["x"]

    def skipped(content):
        return load(io.BytesIO(content), {}, strict=False)[1].unexpected

    assert np.array_equal(loaded(data), x) and skipped(data) == ["x"]
    for read in (loaded, skipped):
        for position in {0, size // 2, size - 1} if size else ():
            damaged = bytearray(data)
            damaged[len(data) - size + position] ^= 1
            with pytest.raises(SerialiseError, match="leaf `x` is not as it was saved"):
                read(bytes(damaged))
            with pytest.raises(SerialiseError, match=f"lacks {size - position} of {size} bytes"):
                read(data[: len(data) - size + position])
