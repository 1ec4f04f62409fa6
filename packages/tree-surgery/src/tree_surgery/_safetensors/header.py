"""The beginning of a safetensors file: what it holds, and where.

Eight bytes with the length of what follows; that many bytes of JSON, in which each name has a
dtype, a shape and its place among the data; the data, without gaps. Nothing in it is believed
unchecked.

Format: https://huggingface.co/docs/safetensors/index#format
"""

import json
import math
from typing import IO, Any, NamedTuple, NoReturn

from tree_surgery._errors import SerialiseError
from tree_surgery._streams.byte_streams import read_exactly

_LONGEST = 1 << 25  # bytes of JSON: some 200,000 names
_DATA_AT = (
    64  # the data begin at a multiple of this, so that they are aligned where files are mapped
)
METADATA = "__metadata__"

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


class Place(NamedTuple):
    """Of one name: the dtype by its code, the shape, and where the data are."""

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """All of the header: places in the order of the data, and metadata."""

    places: dict[str, Place]
    metadata: dict[str, str]
    size: int  # of the header, with its length

    @property
    def end(self) -> int:
        """The size of the whole file."""
        return self.size + max((place.end for place in self.places.values()), default=0)


def itemsize(code: str) -> int:
    """Bytes of one element."""
    return _SIZES[code]


def render(places: dict[str, Place], metadata: dict[str, str]) -> bytes:
    """The bytes of a header."""
    entries: dict[str, Any] = {METADATA: metadata} if metadata else {}
    for name, place in places.items():
        entries[name] = {
            "dtype": place.code,
            "shape": place.shape,
            "data_offsets": (place.begin, place.end),
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _DATA_AT)
    if len(text) > _LONGEST:
        raise SerialiseError(
            f"the names and metadata of this tree take {len(text)} bytes, and {_LONGEST} is the "
            "most. Keep large things in arrays, or save the tree in parts."
        )
    return len(text).to_bytes(8, "little") + text


def read_header(file: IO[bytes], file_size: int | None) -> Header:
    """Read a header and check it; of a file whose size is known, against that too."""
    length = int.from_bytes(read_exactly(file, 8, "its header"), "little")
    if length.to_bytes(8, "little").startswith(b"\x93NUMPY"):
        refuse("it begins as one of `tree_serialise_leaves`, which `tree_deserialise_leaves` reads")
    if length > _LONGEST or length < 2:
        refuse(f"its first eight bytes claim a header of {length} bytes (at most {_LONGEST})")
    if file_size is not None and 8 + length > file_size:
        refuse(f"it has {file_size} bytes, but claims a header of {length}")
    text = bytes(read_exactly(file, length, "its header"))
    if text[:1] != b"{":
        refuse("its header is no JSON object")
    try:
        entries: Any = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SerialiseError(f"{_REFUSED}: its header cannot be read: {error}.") from error
    metadata = entries.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        refuse("its metadata are no dictionary of strings")
    places = {name: _place(name, entry) for name, entry in entries.items()}
    header = Header(_in_order(places), metadata, 8 + length)
    if file_size is not None and header.end != file_size:
        what = "is cut short" if header.end > file_size else "goes on after its data"
        raise SerialiseError(
            f"The file {what}: it has {file_size} bytes, and its header says {header.end}."
        )
    return header


_REFUSED = "The file is damaged, or no safetensors file"


def refuse(why: str) -> NoReturn:
    """This is not what we read."""
    raise SerialiseError(f"{_REFUSED}: {why}.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is in it twice")
    return found


def _place(name: str, entry: Any) -> Place:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        refuse(f"the entry `{name[:100]}` has not dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    sizes = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    whole = isinstance(offsets, list) and [type(n) for n in offsets] == [int, int]
    if not (isinstance(code, str) and sizes and len(shape) <= 64 and whole):
        refuse(f"the entry `{name[:100]}` is of the wrong types")
    begin, end = offsets
    if not 0 <= begin <= end < 1 << 63:
        refuse(f"the data of `{name[:100]}` are from {begin} to {end}")
    place = Place(code, tuple(shape), begin, end)
    if code in _SIZES and math.prod(shape) * _SIZES[code] != end - begin:
        refuse(f"`{name[:100]}` has shape {place.shape} of {code} in {end - begin} bytes")
    return place


def _in_order(places: dict[str, Place]) -> dict[str, Place]:
    at = 0
    ordered = dict(sorted(places.items(), key=lambda item: item[1][2:]))
    for name, place in ordered.items():
        if place.begin != at:
            refuse(f"the data of `{name[:100]}` begin at {place.begin}, not at {at}")
        at = place.end
    return ordered
