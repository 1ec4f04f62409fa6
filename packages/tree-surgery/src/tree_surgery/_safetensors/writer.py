"""How `save` writes a file: the header, then the data of one leaf after the other.

Here is decided how often the data is read. The header comes first in the file, but holds the
checksums of the data. In a file of our own the header is overwritten at the end. A stream of the
caller may not be able to go back, so the data is read once for the checksums and once to write it.
"""

from collections.abc import Mapping
from typing import IO, Any

from tree_surgery._errors import SerialiseError
from tree_surgery._streams.byte_streams import write_all
from tree_surgery._streams.checksums import Checksums, checksum_threads
from tree_surgery._streams.open_stream import PathOrFile, open_stream

from .file_notes import check_metadata
from .header import SUFFIX
from .header_builder import HeaderBuilder
from .leaf_names import name_leaves


def write_tree(path_or_file: PathOrFile, tree: Any, metadata: Mapping[str, Any] | None) -> None:
    """Write a tree to a file. See `save`."""
    checked = check_metadata(metadata)
    header = HeaderBuilder(name_leaves(tree).leaves, checked)
    with open_stream(path_or_file, SUFFIX, write=True) as (file, ours), checksum_threads() as sums:
        if ours and file.seekable():
            _write_header(file, header)
            _process_data(file, header, sums)
            file.flush()
            file.seek(0)
            _write_header(file, header)
        else:
            _process_data(None, header, sums)
            _write_header(file, header)
            _process_data(file, header, sums)


def _write_header(file: IO[bytes], header: HeaderBuilder) -> None:
    write_all(file, memoryview(header.render()))


def _process_data(file: IO[bytes] | None, header: HeaderBuilder, sums: Checksums) -> None:
    """Compute the checksum of each leaf, and write its data unless `file` is `None`."""
    for name, leaf in header.leaves.items():
        try:
            data = leaf.data()
            checksum = sums.of(data) if file is None else sums.write(file, data)
            # Without this, the copy that `data` may be is held while the next one is made.
            del data
        except SerialiseError as error:
            raise error.at(name) from error.__cause__
        except OSError as error:
            error.add_note(f"At leaf `{name}`.")
            raise
        header.set_checksum(name, checksum)
