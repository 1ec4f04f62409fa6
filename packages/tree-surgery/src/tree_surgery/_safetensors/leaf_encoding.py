"""How each kind of leaf is encoded in a safetensors file, whose format has plain arrays only.

Here is decided, for both directions, what a leaf becomes:

| leaf | encoded as |
|---|---|
| an array of a dtype of the format | itself |
| another dtype of one byte (`int4`, more float8) | `I8` or `U8`, and its dtype in the notes |
| `complex128` | pairs of `F64`, and its dtype in the notes |
| any other dtype of NumPy | `U8`, its bytes along a last axis, and its dtype in the notes |
| typed PRNG keys | their words, and the implementation in the notes |
| a leaf that writes itself | `U8`, what it wrote |
| Python's numbers | in the notes, exactly |
"""

import io
import json
import math
import re
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from numpy.lib import format as npy

from tree_surgery._errors import SerialiseError
from tree_surgery._load_report import LeafInfo
from tree_surgery._nodes.arrays import is_key
from tree_surgery._nodes.leaf_info import OWN, dtype_name, info_of, number_kind
from tree_surgery._nodes.prng_keys import implementation_of, words_of
from tree_surgery._streams.byte_streams import ByteArray, array_to_bytes
from tree_surgery._streams.host_arrays import to_host
from tree_surgery._streams.several_processes import gathered, is_shared

from .header import CODES, DTYPES, TensorEntry, itemsize, refuse

LeafNote = dict[str, Any]
"""What the dtype and shape of the format do not say of a leaf. Empty, or with one of these keys:

- `dtype`, the name of the dtype in memory, or `descr`, its description as in a `.npy` file;
- `key`, the PRNG implementation of typed keys;
- `own`, always true: the leaf wrote itself.
"""

# Only what `encode_number` writes. `int` and `float.fromhex` accept more, and the latter raises
# `OverflowError` for an exponent above 1023.
_INT = re.compile(r"-?0x[0-9a-f]+")
_FLOAT = re.compile(r"-?(0x[01]\.[0-9a-f]{1,13}p[+-]?(10[01]\d|102[0-3]|\d{1,3})|inf|nan)")
_FLOAT0 = np.dtype(jax.dtypes.float0)


# --- leaves to arrays of the format --------------------------------------------------------------


class EncodedLeaf(NamedTuple):
    """One leaf as it is written: a tensor of the format, and a note.

    - `info`: what the leaf is in memory.
    - `code`, `shape`: the dtype and shape of the tensor.
    - `note`: what these do not say.
    - `source`: the array, or the bytes that a leaf wrote itself.
    """

    info: LeafInfo
    code: str
    shape: tuple[int, ...]
    note: LeafNote
    source: Any

    @property
    def size(self) -> int:
        """The bytes of the tensor."""
        return math.prod(self.shape) * itemsize(self.code)

    def data(self) -> memoryview:
        """The bytes of the tensor. Made on each call: only one leaf at a time is on the host."""
        if isinstance(self.source, bytes):
            return memoryview(self.source)
        host = self.source
        if isinstance(host, jax.Array):
            host = gathered(host) if is_shared(host) else to_host(host)
        return array_to_bytes(np.asarray(host))


def encode_leaf(leaf: Any) -> EncodedLeaf | None:
    """Encode a leaf as a tensor. `None` if it is not an array and does not write itself."""
    info = info_of(leaf)
    if info is None or info.shape is None:
        return _encode_own_format(leaf) if info == LeafInfo(OWN) else None
    if isinstance(leaf, jax.ShapeDtypeStruct):
        raise SerialiseError(f"{leaf} has no values to save.")
    if is_key(leaf):
        implementation = implementation_of(leaf)
        _, dtype, words = words_of(implementation)
        note = {"key": implementation}
        return EncodedLeaf(info, CODES[dtype_name(dtype)], (*info.shape, *words), note, leaf)
    return EncodedLeaf(info, *_encode_dtype(leaf.dtype, info.shape), leaf)


def _encode_own_format(leaf: Any) -> EncodedLeaf:
    file = io.BytesIO()
    leaf.__serialise_leaf__(file)
    content = file.getvalue()
    return EncodedLeaf(LeafInfo(OWN), "U8", (len(content),), {"own": True}, content)


def _encode_dtype(dtype: Any, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...], LeafNote]:
    """The code, the shape and the note for an array of a dtype. Its bytes stay what they are."""
    dtype = np.dtype(dtype)
    name = dtype_name(dtype)
    # By name: a dtype of the other byte order equals none of the format, and is named `>f4`.
    if name in CODES:
        return CODES[name], shape, {}
    if dtype.hasobject:
        raise SerialiseError(
            f"an array of Python objects (dtype {dtype}) cannot be saved, since that would need "
            "pickle, which is not safe to load. Convert it, or leave it out."
        )
    if name == "complex128":
        return "F64", (*shape, 2), {"dtype": name}
    if dtype == _FLOAT0:
        return "U8", (*shape, 0), {"dtype": "float0"}
    if dtype.isbuiltin == 2:  # a dtype of `ml_dtypes`, which NumPy knows by its name
        if dtype.itemsize != 1:
            return "U8", (*shape, dtype.itemsize), {"dtype": name}
        return ("I8" if name.startswith("int") else "U8"), shape, {"dtype": name}
    return "U8", (*shape, dtype.itemsize), {"descr": npy.dtype_to_descr(dtype)}


# --- arrays of the format to leaves --------------------------------------------------------------


class LeafHeader(NamedTuple):
    """One leaf as the header describes it: kind, shape, and dtype in memory.

    - `info`: what the leaf is in memory.
    - `dtype`: of the array, or of the words of PRNG keys; `None` if it is not known here.
    - `note`: the note on the leaf.
    """

    info: LeafInfo
    dtype: np.dtype[Any] | None
    note: LeafNote


def decode_entry(name: str, entry: TensorEntry, note: LeafNote) -> LeafHeader:
    """Decode a header entry and its note into the leaf that `encode_leaf` encoded.

    A note that does not fit the entry is refused.
    """
    try:
        leaf = _decode(entry, note)
    except (TypeError, ValueError, KeyError, IndexError, SyntaxError) as error:
        raise SerialiseError(f"The note on `{name[:100]}` is damaged: {error!r}.") from error
    if leaf is None:
        refuse(f"the note {json.dumps(note)[:100]} does not fit `{name[:100]}`")
    return leaf


def _decode(entry: TensorEntry, note: LeafNote) -> LeafHeader | None:
    code, shape = entry.code, entry.shape
    if code not in DTYPES:
        return LeafHeader(LeafInfo(f"{code} (unknown to this version)", shape), None, {})
    dtype = np.dtype(DTYPES[code])
    if not note:
        return LeafHeader(LeafInfo(str(dtype), shape), dtype, note)
    if "own" in note:
        fits = code == "U8" and len(shape) == 1
        return LeafHeader(LeafInfo(OWN), dtype, note) if fits else None
    if "key" in note:
        return _decode_keys(dtype, shape, note)
    return _decode_dtype(entry, note)


def _decode_keys(dtype: np.dtype[Any], shape: tuple[int, ...], note: LeafNote) -> LeafHeader | None:
    """Typed keys, if the last axes of the tensor are the words of one key."""
    key_dtype, word_dtype, words = words_of(str(note["key"]))
    rank = len(shape) - len(words)
    if word_dtype != dtype or rank < 0 or shape[rank:] != words:
        return None
    return LeafHeader(LeafInfo(str(key_dtype), shape[:rank]), word_dtype, note)


def _decode_dtype(entry: TensorEntry, note: LeafNote) -> LeafHeader | None:
    """An array of the dtype in the note, if `_encode_dtype` makes just this entry of it.

    Encoding adds one axis at most. Which of the two ranks it was is found by encoding both.
    """
    dtype = _dtype_in_note(note)
    if dtype.hasobject:
        return None
    rank = len(entry.shape)
    for shape in (entry.shape, entry.shape[: max(rank - 1, 0)]):
        if _encode_dtype(dtype, shape)[:2] == (entry.code, entry.shape):
            return LeafHeader(LeafInfo(str(dtype), shape), dtype, note)
    return None


def _dtype_in_note(note: LeafNote) -> np.dtype[Any]:
    if "descr" in note:
        return npy.descr_to_dtype(_restore_tuples(note["descr"]))
    name = note["dtype"]
    return _FLOAT0 if name == "float0" else np.dtype(str(name))


def _restore_tuples(descr: Any) -> Any:
    """The description of a dtype with its tuples, which are lists in JSON.

    The description of a structured dtype is a list of fields. A field is a tuple of a name or a
    pair of names, a description, and a shape if it has one.
    """
    if not isinstance(descr, list):
        return descr
    return [
        tuple(_restore_tuples(x) if i == 1 else _as_tuple(x) for i, x in enumerate(field))
        for field in cast(list[list[Any]], descr)
    ]


def _as_tuple(x: Any) -> Any:
    return tuple(cast(list[Any], x)) if isinstance(x, list) else x


def decode_array(data: ByteArray, leaf: LeafHeader) -> np.ndarray[Any, Any]:
    """The array of a leaf, or the words of its keys, from the bytes of its tensor. No copy."""
    shape = data.shape if leaf.info.shape is None else leaf.info.shape
    assert leaf.dtype is not None  # a leaf of unknown dtype has no maker, so its data is skipped
    if "key" in leaf.note:
        shape = (*shape, *words_of(leaf.note["key"])[2])
    # Elements without bytes (`float0`, `U0`) cannot be counted from the data, only from the shape.
    if leaf.dtype.itemsize == 0 or data.size == 0:
        return np.zeros(shape, leaf.dtype)
    return data.view(leaf.dtype).reshape(shape)


# --- Python's numbers ----------------------------------------------------------------------------


def encode_number(x: Any) -> list[str]:
    """A number of Python as the name of its type and hexadecimal digits, which lose nothing.

    JSON itself has no infinity and no NaN, and many programs read its integers as doubles.
    """
    kind = number_kind(x)
    if kind is complex:
        return ["complex", float(x.real).hex(), float(x.imag).hex()]
    text = float(x).hex() if kind is float else hex(x) if kind is int else str(bool(x))
    return [kind.__name__, text]


def decode_number(name: str, note: Any) -> Any:
    """The number that `encode_number` encoded. Anything else is refused."""
    match note:
        case ["bool", "True" | "False" as text]:
            return text == "True"
        case ["int", str(text)] if _INT.fullmatch(text):
            return int(text, 16)
        case ["float", str(text)] if _FLOAT.fullmatch(text):
            return float.fromhex(text)
        case ["complex", str(x), str(y)] if _FLOAT.fullmatch(x) and _FLOAT.fullmatch(y):
            return complex(float.fromhex(x), float.fromhex(y))
        case _:
            refuse(f"the number `{name[:100]}` is {str(note)[:100]}")
