"""The notes of `save`: all that safetensors has no place for, kept in the metadata of the header.

The metadata of safetensors map strings to strings. `save` puts there:

- each entry of the user's metadata: strings as they are, all else as JSON;
- `tree_surgery`, as JSON: the version, the fingerprint of the tree, the checksum of the data of
  each leaf, notes on leaves that are encoded in another form, and Python's numbers;
- `tree_surgery.checksum`: the CRC-32 of all of the header but this string.

Here is decided how the notes are written and checked. What the checksum of a leaf is computed from
is decided in `_streams/checksums.py`.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from tree_surgery._errors import SerialiseError

from .header import Header, TensorEntry, refuse
from .leaf_encoding import LeafNote

VERSION = 1
_NOTES = "tree_surgery"
_CHECKSUM = "tree_surgery.checksum"


class FileNotes(NamedTuple):
    """The notes of one file.

    - `fingerprint`: of the tree that was saved.
    - `leaves`: the note on each leaf that needs one.
    - `numbers`: Python's numbers by name, as `encode_number` writes them.
    - `checksums`: of the data of each leaf, as `format_checksum` writes them.
    - `metadata`: the user's.
    - `version`: of the notes.
    """

    fingerprint: str
    leaves: dict[str, LeafNote]
    numbers: dict[str, list[str]]
    checksums: dict[str, str]
    metadata: dict[str, Any]
    version: int = VERSION

    def to_metadata(self, entries: Mapping[str, TensorEntry]) -> dict[str, str]:
        """The notes as metadata of a header with these entries."""
        as_json = [key for key, value in self.metadata.items() if not isinstance(value, str)]
        notes = {
            "version": self.version,
            "fingerprint": self.fingerprint,
            "json": as_json,
            "leaves": self.leaves,
            "numbers": self.numbers,
            "crc32": self.checksums,
        }
        strings = {
            key: json.dumps(value) if key in as_json else value
            for key, value in self.metadata.items()
        }
        strings[_NOTES] = json.dumps(notes, separators=(",", ":"))
        return strings | {_CHECKSUM: _header_checksum(strings, entries)}


def read_notes(header: Header) -> FileNotes | None:
    """The notes in a header, checked. `None` for a file that another program wrote."""
    strings = dict(header.metadata)
    checksum = strings.pop(_CHECKSUM, None)
    if _NOTES not in strings and checksum is None:
        return None
    try:
        notes: Any = json.loads(strings[_NOTES])
        _check_version(notes["version"])
        if notes["version"] != VERSION or checksum != _header_checksum(strings, header.entries):
            refuse("its header does not agree with its own checksum")
        del strings[_NOTES]
        metadata = {k: json.loads(v) if k in notes["json"] else v for k, v in strings.items()}
        leaves, numbers, checksums = (_dictionary(notes[k]) for k in ("leaves", "numbers", "crc32"))
        return FileNotes(notes["fingerprint"], leaves, numbers, checksums, metadata)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SerialiseError(f"The notes of the file are damaged: {error!r}.") from error


def _check_version(version: Any) -> None:
    """Refuse a newer version. This comes before the checksum, which it may compute otherwise."""
    if isinstance(version, int) and version > VERSION:
        raise SerialiseError(
            f"The file is of version {version} of this format, and this version of "
            f"tree-surgery knows {VERSION}. Upgrade it: `pip install -U tree-surgery`."
        )


def _dictionary(x: Any) -> dict[str, Any]:
    if type(x) is not dict:
        refuse("its notes are not dictionaries")
    return cast(dict[str, Any], x)


def format_checksum(checksum: int) -> str:
    """A checksum as text. All have one length, so that a header can be rewritten in place."""
    return f"{checksum:08x}"


def _header_checksum(strings: Mapping[str, str], entries: Mapping[str, TensorEntry]) -> str:
    # Sorted, since another program may write the same header in another order.
    tensors = sorted((name, *entry) for name, entry in entries.items())
    text = json.dumps([dict(sorted(strings.items())), tensors])
    return format_checksum(zlib.crc32(text.encode()))


# --- the user's metadata -------------------------------------------------------------------------


def check_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The user's metadata, if all of it comes back from a file as it is."""
    if not isinstance(metadata, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance] (a user may)
        raise SerialiseError(
            f"Metadata are a dictionary from strings, but got a `{type(metadata).__name__}`."
        )
    checked: dict[Any, Any] = dict(metadata or {})
    for key, value in checked.items():
        if not isinstance(key, str) or key in (_NOTES, _CHECKSUM):
            raise SerialiseError(f"{key!r} cannot be a key of the metadata: use another string.")
        try:
            same = _equal_but_for_tuples(json.loads(json.dumps(value)), value)
        except (TypeError, ValueError, RecursionError) as error:
            raise SerialiseError(
                f"The metadata `{key}` cannot be kept as JSON: {error}. Metadata are strings, "
                "numbers, booleans, `None`, and lists and dictionaries of them."
            ) from error
        if not same:
            raise SerialiseError(
                f"The metadata `{key}` would not come back as they are: keys of dictionaries must "
                "be strings."
            )
    return checked


def _equal_but_for_tuples(read: Any, value: Any) -> bool:
    """Whether what was read equals `value`. A tuple may come back as a list, and NaN as NaN."""
    if isinstance(value, list | tuple):
        return all(map(_equal_but_for_tuples, read, value))
    if isinstance(value, dict):
        items = cast(dict[Any, Any], value).items()
        return all(key in read and _equal_but_for_tuples(read[key], item) for key, item in items)
    return bool(read == value) or value != value
