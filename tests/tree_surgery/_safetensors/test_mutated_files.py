"""Mutated files: each is refused, or was not changed in what matters; none does any harm.

A few hundred in every run. `HYPOTHESIS_PROFILE=long` makes it 10,000 for each loader.
"""

import io
import json
import os
import random
import tracemalloc
import zlib

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest

import tree_surgery as ts

CASES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 300
MOST = 64 << 20  # bytes of memory that any of these files may cost

TREE = {
    "w": np.arange(6.0).reshape(2, 3),
    "h": jnp.ones(3, jnp.bfloat16),
    "i": jnp.array([1, -2], jnp.int4),
    "z": np.ones((2,), complex),
    "k": jax.random.split(jax.random.key(0), 2),
    "s": np.array(["a", "bc"]),
    "none": np.zeros((0, 3)),
    "n": [3, 10**30, 0.5, True, 1j, np.float32(2)],
}
FORMATS = {
    "safetensors": (lambda f: ts.save(f, TREE, metadata={"a": [1, {"b": "c"}]}), ts.load),
    "eqx": (lambda f: ts.tree_serialise_leaves(f, TREE), ts.tree_deserialise_leaves),
}


def written(kind):
    file = io.BytesIO()
    FORMATS[kind][0](file)
    return file.getvalue()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to three changes of the kinds that files suffer, or are made to suffer."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(content) + 1)
        size = rng.choice([1, 1, 2, 8, 64, 500])
        match rng.randrange(7):
            case 0 if at < len(content):
                content[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(content):
                content[at] = rng.randrange(256)
            case 2:
                del content[at : at + size]
            case 3:
                content[at:at] = rng.randbytes(size)
            case 4:
                content[at:at] = content[at : at + size]
            case 5:
                other = rng.randrange(len(content) + 1)
                content[at : at + size] = content[other : other + size]
            case _:
                del content[max(at, 1) :]
        if not content:
            break
    return bytes(content)


HOSTILE = [0, 1, -1, 2**31, 2**63, 2**64, 10**30, 0.5, "", "x" * 50, None, True, [], {}, [[[]]]]
HOSTILE += ["<U999999999", "O", "F64", "int4", "tree_surgery", "threefry2x32", "0xfff", "nan"]


def mutate_json(value, rng: random.Random):
    """Somewhere within it, something else."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        new = dict(value)
        match rng.randrange(8):
            case 0:
                del new[key]
            case 1:
                new[rng.choice(["w", "more", key + "x"])] = new.pop(key)
            case 2:
                new[key] = new[rng.choice(list(value))]
            case _:
                new[key] = mutate_json(value[key], rng)
        return new
    if isinstance(value, list) and value and rng.random() < 0.8:
        new = list(value)
        at = rng.randrange(len(new))
        new[at] = mutate_json(new[at], rng)
        return new if rng.random() < 0.8 else new + new
    return rng.choice(HOSTILE)


def mutate_header(data: bytes, rng: random.Random) -> bytes:
    """A header by somebody who knows the format: another structure, and right checksums."""
    size = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    metadata = header.pop("__metadata__")
    notes = json.loads(metadata.pop("tree_surgery"))
    del metadata["tree_surgery.checksum"]
    if rng.random() < 0.5:
        header = mutate_json(header, rng)
    else:
        notes = mutate_json(notes, rng)
    strings = {**metadata, "tree_surgery": json.dumps(notes)}
    entries = []
    if isinstance(header, dict):
        entries = [
            (name, x.get("dtype"), x.get("shape"), *(x.get("data_offsets") or [0, 0]))
            for name, x in sorted(header.items(), key=str)
            if isinstance(x, dict) and isinstance(x.get("data_offsets"), list)
        ]
        checked = json.dumps([dict(sorted(strings.items())), entries]).encode()
        strings["tree_surgery.checksum"] = f"{zlib.crc32(checked):08x}"
        header = {"__metadata__": strings, **header}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def fuzz(kind, mutations, exact):
    """How many files are refused. A file that is not must give the tree, or one like it."""
    read, data = FORMATS[kind][1], written(kind)
    like = jtu.tree_map(lambda x: x, TREE)
    rng = random.Random(0)
    refused = 0
    for case in range(CASES):
        content = rng.choice(mutations)(data, rng)
        file = io.BytesIO(content)
        tracemalloc.start()
        try:
            new = read(file, like)
        except ts.SerialiseError:
            refused += 1
            assert file.tell() == 0
            continue
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < MOST, (case, peak)
        assert jtu.tree_structure(new) == jtu.tree_structure(TREE), case
        for a, b in zip(jtu.tree_leaves(new), jtu.tree_leaves(TREE), strict=True):
            assert type(a) is type(b) and np.shape(a) == np.shape(b), case
            assert getattr(a, "dtype", None) == getattr(b, "dtype", None), case
        if exact:
            assert ts.tree_equal(new, TREE, typematch=True), case
    return refused


def test_mutated_files_by_name():
    """All damage is found; what is added behind the last leaf of a stream is the next reader's."""
    assert fuzz("safetensors", [mutate], exact=True) > 0.8 * CASES


def test_mutated_headers():
    assert fuzz("safetensors", [mutate_header], exact=False) > 0.5 * CASES


def test_mutated_files_in_order():
    assert fuzz("eqx", [mutate], exact=False) > 0.3 * CASES


@pytest.mark.parametrize("kind", FORMATS)
def test_random_bytes(kind):
    rng = random.Random(1)
    for _ in range(CASES):
        content = rng.randbytes(rng.randrange(300))
        start = rng.choice([b"", b"\x93NUMPY\x01\x00", (40).to_bytes(8, "little") + b'{"w":'])
        with pytest.raises(ts.SerialiseError):
            FORMATS[kind][1](io.BytesIO(start + content), TREE)


def test_every_bit_of_a_small_file():
    """Of a file by name, each single bit counts."""
    tree = {"w": np.arange(3.0), "n": 3}
    file = io.BytesIO()
    ts.save(file, tree, metadata={"a": 1})
    data = file.getvalue()
    every = range(len(data) * 8)
    bits = every if len(every) <= CASES else random.Random(2).sample(every, CASES)
    for bit in bits:
        content = bytearray(data)
        content[bit // 8] ^= 1 << bit % 8
        try:
            new = ts.load(io.BytesIO(bytes(content)), tree)
        except ts.SerialiseError:
            continue
        raise AssertionError(f"bit {bit} was changed, and {new} loaded")
