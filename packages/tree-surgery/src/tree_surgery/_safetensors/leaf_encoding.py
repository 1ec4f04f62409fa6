"""How each kind of leaf is stored in a safetensors file, whose format has plain arrays only.

| leaf | stored as |
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
from tree_surgery._nodes.arrays import is_key
from tree_surgery._nodes.leaf_info import OWN, LeafInfo, info_of, number_kind
from tree_surgery._nodes.prng_keys import implementation_of, words_of
from tree_surgery._streams.byte_streams import bytes_of_array
from tree_surgery._streams.host_arrays import to_host

from .header import CODES, DTYPES, Place, itemsize, refuse

Note = dict[str, Any]
_INT = re.compile(r"-?0x[0-9a-f]+")
_FLOAT = re.compile(r"-?(0x[01]\.[0-9a-f]{1,13}p[+-]?(10[01]\d|102[0-3]|\d{1,3})|inf|nan)")
_FLOAT0 = np.dtype(jax.dtypes.float0)


class Item(NamedTuple):
    """An array as it is stored: the code of its dtype, its shape, and what these do not say."""

    what: LeafInfo
    code: str
    shape: tuple[int, ...]
    note: Note
    source: Any

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * itemsize(self.code)

    def data(self) -> memoryview:
        """The values. Made when they are needed, so that there is one leaf at a time."""
        if isinstance(self.source, bytes):
            return memoryview(self.source)
        host = to_host(self.source) if isinstance(self.source, jax.Array) else self.source
        return bytes_of_array(np.asarray(host))


def store(leaf: Any) -> Item | None:
    """How a leaf is stored; `None` if it is no array and does not write itself."""
    what = info_of(leaf)
    if what is None or what.shape is None:
        return _own(leaf) if what == LeafInfo(OWN) else None
    if isinstance(leaf, jax.ShapeDtypeStruct):
        raise SerialiseError(f"{leaf} has no values to save.")
    if is_key(leaf):
        implementation = implementation_of(leaf)
        _, dtype, words = words_of(implementation)
        note = {"key": implementation}
        return Item(what, CODES[str(dtype)], (*what.shape, *words), note, leaf)
    return Item(what, *_form(leaf.dtype, what.shape), leaf)


def _own(leaf: Any) -> Item:
    file = io.BytesIO()
    leaf.__serialise_leaf__(file)
    content = file.getvalue()
    return Item(LeafInfo(OWN), "U8", (len(content),), {"own": True}, content)


def _form(dtype: Any, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...], Note]:
    dtype = np.dtype(dtype)
    name = str(dtype)
    if name in CODES:  # those of the other byte order have other names
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
    if dtype.isbuiltin == 2:
        if dtype.itemsize != 1:
            return "U8", (*shape, dtype.itemsize), {"dtype": name}
        return ("I8" if name.startswith("int") else "U8"), shape, {"dtype": name}
    return "U8", (*shape, dtype.itemsize), {"descr": npy.dtype_to_descr(dtype)}


class Found(NamedTuple):
    """LeafInfo a file has under a name: what leaf that is, and of which dtype in memory."""

    what: LeafInfo
    dtype: np.dtype[Any] | None  # of the array, or of the words of keys; None if it is not known
    note: Note


def recall(name: str, place: Place, note: Note) -> Found:
    """LeafInfo leaf was stored so."""
    try:
        found = _recall(place, note)
    except (TypeError, ValueError, KeyError, IndexError, SyntaxError) as error:
        raise SerialiseError(f"The note on `{name[:100]}` is damaged: {error!r}.") from error
    if found is None:
        refuse(f"the note {json.dumps(note)[:100]} does not fit `{name[:100]}`")
    return found


def _recall(place: Place, note: Note) -> Found | None:
    code, shape = place.code, place.shape
    if code not in DTYPES:
        return Found(LeafInfo(f"{code} (unknown to this version)", shape), None, {})
    stored = np.dtype(DTYPES[code])
    if not note:
        return Found(LeafInfo(str(stored), shape), stored, note)
    if "own" in note:
        return Found(LeafInfo(OWN), stored, note) if code == "U8" and len(shape) == 1 else None
    if "key" in note:
        dtype, words, tail = words_of(str(note["key"]))
        rank = len(shape) - len(tail)
        fits = words == stored and rank >= 0 and shape[rank:] == tail
        return Found(LeafInfo(str(dtype), shape[:rank]), words, note) if fits else None
    dtype = _noted_dtype(note)
    if not dtype.hasobject:
        for rank in {len(shape), max(len(shape) - 1, 0)}:
            if _form(dtype, shape[:rank])[:2] == (code, shape):
                return Found(LeafInfo(str(dtype), shape[:rank]), dtype, note)
    return None


def _noted_dtype(note: Note) -> np.dtype[Any]:
    if "descr" in note:
        return npy.descr_to_dtype(_tuples(note["descr"]))
    name = note["dtype"]
    return _FLOAT0 if name == "float0" else np.dtype(str(name))


def _tuples(descr: Any) -> Any:
    """JSON has lists where the description of a dtype has tuples, of names and types."""
    if not isinstance(descr, list):
        return descr
    return [
        tuple(_tuples(x) if i == 1 else _shape(x) for i, x in enumerate(cast(list[Any], field)))
        for field in cast(list[Any], descr)
    ]


def _shape(x: Any) -> Any:
    return tuple(cast(list[Any], x)) if isinstance(x, list) else x


def number_to_note(x: Any) -> list[str]:
    """A number of Python's as strings, exactly."""
    kind = number_kind(x)
    if kind is complex:
        return ["complex", float(x.real).hex(), float(x.imag).hex()]
    text = float(x).hex() if kind is float else hex(x) if kind is int else str(bool(x))
    return [kind.__name__, text]


def note_to_number(name: str, note: Any) -> Any:
    """The number again."""
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


def to_array(buffer: Any, found: Found) -> np.ndarray[Any, Any]:
    """The values, from the bytes that were stored."""
    shape = found.what.shape
    shape = buffer.shape if shape is None else shape
    assert found.dtype is not None
    if "key" in found.note:
        shape = (*shape, *words_of(found.note["key"])[2])
    if found.dtype.itemsize == 0 or buffer.size == 0:
        return np.zeros(shape, found.dtype)
    return buffer.view(found.dtype).reshape(shape)
