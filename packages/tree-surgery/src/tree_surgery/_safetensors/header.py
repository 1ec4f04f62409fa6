"""The header of a safetensors file: the dtype, shape and byte range of each tensor, and metadata.

A file is eight bytes with the length of the header, the header as JSON, and the data of all tensors
without gaps. Here is decided how a header becomes bytes and which headers are refused; nothing in a
file is believed unchecked. What `save` puts into the metadata is decided in `file_notes.py`.

Format: https://huggingface.co/docs/safetensors/index#format
"""

import json
import math
from collections.abc import Mapping
from typing import IO, Any, NamedTuple, NoReturn

from tree_surgery._errors import SerialiseError
from tree_surgery._streams.byte_streams import read_exactly

SUFFIX = ".safetensors"
METADATA = "__metadata__"

_MAX_LENGTH = 1 << 25  # bytes of JSON: some 200,000 names
_MAX_RANK = 64  # axes that an array of NumPy can have
_DATA_ALIGNMENT = 64  # the data begins at a multiple, so that it is aligned where files are mapped
_ENTRY_KEYS = frozenset({"dtype", "shape", "data_offsets"})
_REFUSED = "The file is damaged, or no safetensors file"

# The dtypes of the format that have whole bytes, by the names that NumPy and JAX give them.
CODES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}
DTYPES = {code: name for name, code in CODES.items()}
_SIZES = {"BF16": 2, "BOOL": 1, "C64": 8} | {
    code: int(code[1:].partition("_")[0]) // 8
    for code in DTYPES
    if code not in ("BF16", "BOOL", "C64")
}


class TensorEntry(NamedTuple):
    """What the header says of one tensor: the code of its dtype, its shape, and its byte range.

    `begin` and `end` count from the beginning of the data.
    """

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """A header that was read and checked.

    - `entries`: the tensors by name, in the order of their data.
    - `metadata`: strings by name; `save` has its notes among them.
    - `size`: the bytes of the header, with those of its length.
    """

    entries: dict[str, TensorEntry]
    metadata: dict[str, str]
    size: int

    @property
    def file_size(self) -> int:
        """The bytes of the whole file."""
        return self.size + max((entry.end for entry in self.entries.values()), default=0)


def itemsize(code: str) -> int:
    """The bytes of one element of a dtype."""
    return _SIZES[code]


def refuse(reason: str) -> NoReturn:
    """Raise the error for a file that is damaged or of another format."""
    raise SerialiseError(f"{_REFUSED}: {reason}.")


# --- writing -------------------------------------------------------------------------------------


def render_header(entries: Mapping[str, TensorEntry], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a header, padded so that the data after it is aligned."""
    content: dict[str, Any] = {METADATA: metadata} if metadata else {}
    for name, entry in entries.items():
        content[name] = {
            "dtype": entry.code,
            "shape": entry.shape,
            "data_offsets": (entry.begin, entry.end),
        }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _DATA_ALIGNMENT)
    if len(text) > _MAX_LENGTH:
        raise SerialiseError(
            f"the names and metadata of this tree take {len(text)} bytes, and {_MAX_LENGTH} is the "
            "most. Keep large things in arrays, or save the tree in parts."
        )
    return len(text).to_bytes(8, "little") + text


# --- reading -------------------------------------------------------------------------------------


def read_header(file: IO[bytes], file_size: int | None) -> Header:
    """Read a header and check it. `file_size` is `None` for a stream whose size is not known."""
    text = _read_text(file, file_size)
    content = _parse_json(text)
    metadata = content.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        refuse("its metadata are not a dictionary of strings")
    entries = {name: _parse_entry(name, entry) for name, entry in content.items()}
    header = Header(_sort_by_data(entries), metadata, 8 + len(text))
    if file_size is not None and header.file_size != file_size:
        what = "is cut short" if header.file_size > file_size else "goes on after its data"
        raise SerialiseError(
            f"The file {what}: it has {file_size} bytes, and its header says {header.file_size}."
        )
    return header


def _read_text(file: IO[bytes], file_size: int | None) -> bytes:
    """The JSON of a header. Its length is checked before so many bytes are read."""
    start = read_exactly(file, 8, "its header")
    if start.startswith(b"\x93NUMPY"):
        refuse("it begins as one of `tree_serialise_leaves`, which `tree_deserialise_leaves` reads")
    length = int.from_bytes(start, "little")
    if length > _MAX_LENGTH or length < 2:
        refuse(f"its first eight bytes claim a header of {length} bytes (at most {_MAX_LENGTH})")
    if file_size is not None and 8 + length > file_size:
        refuse(f"it has {file_size} bytes, but claims a header of {length}")
    return bytes(read_exactly(file, length, "its header"))


def _parse_json(text: bytes) -> dict[str, Any]:
    if text[:1] != b"{":
        refuse("its header is no JSON object")
    try:
        return json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise SerialiseError(f"{_REFUSED}: its header cannot be read: {error}.") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. A key that is there twice is refused: programs differ in what they take."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name is in it twice")
    return content


def _parse_entry(name: str, entry: Any) -> TensorEntry:
    shown = name[:100]
    if not isinstance(entry, dict) or entry.keys() != _ENTRY_KEYS:
        refuse(f"the entry `{shown}` has not dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(code, str) and _is_shape(shape) and _is_pair_of_ints(offsets)):
        refuse(f"the entry `{shown}` is of the wrong types")
    begin, end = offsets
    # The bound keeps NumPy from overflowing: a size must fit a signed integer of 64 bits.
    if not 0 <= begin <= end < 1 << 63:
        refuse(f"the data of `{shown}` are from {begin} to {end}")
    parsed = TensorEntry(code, tuple(shape), begin, end)
    # An unknown dtype of a newer format may have elements of any size: it is skipped by its range.
    if code in _SIZES and math.prod(shape) * _SIZES[code] != end - begin:
        refuse(f"`{shown}` has shape {parsed.shape} of {code} in {end - begin} bytes")
    return parsed


def _is_shape(x: Any) -> bool:
    # `type(n) is int`: to Python, `True` is an integer too.
    return isinstance(x, list) and len(x) <= _MAX_RANK and all(type(n) is int and n >= 0 for n in x)


def _is_pair_of_ints(x: Any) -> bool:
    return isinstance(x, list) and [type(n) for n in x] == [int, int]


def _sort_by_data(entries: dict[str, TensorEntry]) -> dict[str, TensorEntry]:
    """The entries in the order of their data. A gap or an overlap is refused.

    So each byte of the data belongs to one tensor, and reading them in order needs no seeking.
    """
    at = 0
    ordered = dict(sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)))
    for name, entry in ordered.items():
        if entry.begin != at:
            refuse(f"the data of `{name[:100]}` begin at {entry.begin}, not at {at}")
        at = entry.end
    return ordered
