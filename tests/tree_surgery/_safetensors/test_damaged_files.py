"""Damaged, foreign and hostile files by name are refused, and cost little."""

import io
import json
import tracemalloc

import jax
import numpy as np
import pytest
import safetensors.numpy

from tree_surgery import SerialiseError, load, load_state_dict, peek, tree_equal


def with_header(header, rest):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


SMALL = {"w": np.arange(6.0).reshape(2, 3), "k": jax.random.key(0), "n": 3}


def test_every_truncation_is_an_error(saved, tmp_path):
    data = saved(SMALL)
    for size in range(0, len(data), 1 if len(data) < 2000 else 7):
        file = io.BytesIO(data[:size])
        with pytest.raises(SerialiseError):
            load(file, SMALL)
        assert file.tell() == 0
    for size in (0, 5, 100, len(data) - 1):
        (tmp_path / "m.safetensors").write_bytes(data[:size])
        for read in (lambda: load(tmp_path / "m", SMALL), lambda: peek(tmp_path / "m")):
            with pytest.raises(SerialiseError, match="cut short|claims a header"):
                read()


def test_trailing_data(saved, tmp_path):
    (tmp_path / "m.safetensors").write_bytes(saved(SMALL) + b"x")
    with pytest.raises(SerialiseError, match="goes on after its data"):
        load(tmp_path / "m", SMALL)


def test_damaged_values_name_their_leaf(saved, loaded):
    data = bytearray(saved(SMALL))
    data[-1] ^= 1
    with pytest.raises(SerialiseError, match="leaf `k` is not as it was saved") as info:
        loaded(bytes(data), SMALL)
    assert info.value.path == "k"
    # also in what is not loaded
    with pytest.raises(SerialiseError, match="leaf `k`"):
        loaded(bytes(data), {"w": SMALL["w"]}, strict=False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04" + bytes(100),
        b"\x80\x04\x95" + bytes(100),
        b"\x93NUMPY\x01\x00v\x00" + bytes(200),
        (1 << 62).to_bytes(8, "little"),
        ((1 << 25) + 1).to_bytes(8, "little") + b"{}",
        (1 << 25).to_bytes(8, "little") + b"{",
        with_header([], b""),
        with_header("text", b""),
        with_header({"w": {}}, b""),
        (100_000).to_bytes(8, "little") + b'{"a":' + b"[" * 99_995,
        (30).to_bytes(8, "little") + b'{"w":' + b"9" * 24 + b"}",
        (5000).to_bytes(8, "little") + b'{"w":' + b"9" * 4994 + b"}",
        (8).to_bytes(8, "little") + b'{"\xff":1}',
        (12).to_bytes(8, "little") + b'{"a":1,"a":2}',
        with_header({"__metadata__": {"a": 1}}, b""),
        with_header({"__metadata__": []}, b""),
    ],
)
def test_foreign_and_hostile_files(loaded, tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    for read in (
        lambda: load(tmp_path / "m", SMALL),
        lambda: loaded(content, SMALL),
        lambda: load_state_dict(io.BytesIO(content)),
        lambda: peek(io.BytesIO(content)),
    ):
        tracemalloc.start()
        try:
            with pytest.raises(SerialiseError):
                read()
            assert tracemalloc.get_traced_memory()[1] < 1 << 24
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 49]},
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [8, 56]},
        {"dtype": "F64", "shape": [2, -3], "data_offsets": [0, 48]},
        {"dtype": "F64", "shape": [2.0, 3], "data_offsets": [0, 48]},
        {"dtype": "F64", "shape": [True, 6], "data_offsets": [0, 48]},
        {"dtype": "F64", "shape": [10**30, 0], "data_offsets": [0, 0]},
        {"dtype": "F64", "shape": [10**15], "data_offsets": [0, 8 * 10**15]},
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [48, 0]},
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48, 3]},
        {"dtype": "F65", "shape": [2, 3], "data_offsets": [0, 48]},
        {"dtype": 64, "shape": [2, 3], "data_offsets": [0, 48]},
        {"dtype": "F64", "shape": [2, 3]},
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48], "more": 1},
        {"dtype": "F64", "shape": [1] * 65, "data_offsets": [0, 8]},
    ],
)
def test_entries_that_lie(loaded, entry):
    like = {"w": np.zeros((2, 3))}
    with pytest.raises(SerialiseError):
        loaded(with_header({"w": entry}, bytes(48)), like)
    good = {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48]}
    assert tree_equal(loaded(with_header({"w": good}, bytes(48)), like), like)


def test_the_library_refuses_what_we_refuse():
    """Not only we take a gap or an overlap for damage."""
    bad = with_header({"w": {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]}}, bytes(16))
    with pytest.raises(safetensors.SafetensorError):
        safetensors.numpy.load(bad)
