"""What a file says about its tree beside the arrays: a part of the header that we write ourselves.

In the metadata of safetensors, which map strings to strings: the user's own entries, strings as
they are and all else as JSON; and two of ours. `tree_surgery` is JSON: the version, the
fingerprint, the checksum of each leaf, notes on leaves that are stored in another form, numbers.
Of all that is in the header, `tree_surgery.checksum` is the CRC-32.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from tree_surgery._errors import SerialiseError
from tree_surgery._nodes.leaf_info import LeafInfo

from .header import Header, Place, refuse
from .leaf_encoding import Note

VERSION = 1
_OURS = "tree_surgery"
_CHECKSUM = "tree_surgery.checksum"


class Notes(NamedTuple):
    """What we know of a file that we wrote."""

    fingerprint: str
    leaves: dict[str, Note]
    numbers: dict[str, list[str]]
    checksums: dict[str, str]
    metadata: dict[str, Any]
    version: int = VERSION

    def to_metadata(self, places: Mapping[str, Place]) -> dict[str, str]:
        """All of it as metadata of safetensors."""
        as_json = [key for key, value in self.metadata.items() if not isinstance(value, str)]
        ours = {
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
        strings[_OURS] = json.dumps(ours, separators=(",", ":"))
        return strings | {_CHECKSUM: _checksum(strings, places)}


def read_notes(header: Header) -> Notes | None:
    """The notes in a header, checked; `None` for a file that others wrote."""
    strings = dict(header.metadata)
    checksum = strings.pop(_CHECKSUM, None)
    if _OURS not in strings and checksum is None:
        return None
    try:
        ours: Any = json.loads(strings[_OURS])
        version = ours["version"]
        if isinstance(version, int) and version > VERSION:
            raise SerialiseError(
                f"The file is of version {version} of this format, and this version of "
                f"tree-surgery knows {VERSION}. Upgrade it: `pip install -U tree-surgery`."
            )
        if version != VERSION or checksum != _checksum(strings, header.places):
            refuse("its header does not agree with its own checksum")
        del strings[_OURS]
        metadata = {k: json.loads(v) if k in ours["json"] else v for k, v in strings.items()}
        parts = [ours[key] for key in ("leaves", "numbers", "crc32")]
        if not all(type(part) is dict for part in parts):
            refuse("its notes are no dictionaries")
        leaves, numbers, checksums = parts
        return Notes(ours["fingerprint"], leaves, numbers, checksums, metadata)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SerialiseError(f"The notes of the file are damaged: {error!r}.") from error


def check_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The user's metadata, if they can be kept."""
    if not isinstance(metadata, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance] (a user may)
        raise SerialiseError(
            f"Metadata are a dictionary from strings, but got a `{type(metadata).__name__}`."
        )
    kept: dict[Any, Any] = dict(metadata or {})
    for key, value in kept.items():
        if not isinstance(key, str) or key in (_OURS, _CHECKSUM):
            raise SerialiseError(f"{key!r} cannot be a key of the metadata: use another string.")
        try:
            same = _same(json.loads(json.dumps(value)), value)
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
    return kept


def _same(read: Any, value: Any) -> bool:
    """Whether what is read is what was written, but for tuples, which come back as lists."""
    if isinstance(value, list | tuple):
        return all(map(_same, read, value))
    if isinstance(value, dict):
        items = cast(dict[Any, Any], value).items()
        return all(key in read and _same(read[key], item) for key, item in items)
    return bool(read == value) or value != value


def fingerprint_of(leaves: Mapping[str, LeafInfo]) -> str:
    """A hash of what leaves there are."""
    lines = sorted(f"{name}: {info}" for name, info in leaves.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def crc_text(checksum: int) -> str:
    """Always as long, so that it can be filled in when the data are written."""
    return f"{checksum:08x}"


def _checksum(strings: Mapping[str, str], places: Mapping[str, Place]) -> str:
    entries = sorted((name, *place) for name, place in places.items())
    return crc_text(zlib.crc32(json.dumps([dict(sorted(strings.items())), entries]).encode()))
