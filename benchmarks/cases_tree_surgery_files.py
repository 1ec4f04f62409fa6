"""Files of 64 MB, in both formats, beside those of Equinox and plain ones. (1 GB: `files.py`.)

Each side has a file of its own, which it replaces. What the others wrote is on the disk before a
side is timed; otherwise it would wait for them.
"""

import os
import tempfile
import time
from pathlib import Path

from case import Case, Thunk
from files import sides, tree

MEGABYTES = 64
OURS = {"by name": "ours, by name", "in order": "ours, in order"}


def cases() -> list[Case]:
    writes, reads = sides(Path(tempfile.mkdtemp()), tree(MEGABYTES))
    for write in writes.values():
        write()
    return [
        *(
            Case(
                f"save {MEGABYTES} MB to a file, {what}",
                timed(writes[ours]),
                timed(writes["Equinox"]) if "Equinox" in writes else None,
                limit=1.0,
                others={name: timed(writes[name]) for name in ("plain", "plain + fsync")},
                limits={"plain": 1.5},
                own_clock=True,
            )
            for what, ours in OURS.items()
        ),
        *(
            Case(
                f"load {MEGABYTES} MB from a file, {what}",
                timed(reads[ours]),
                timed(reads["Equinox"]) if "Equinox" in reads else None,
                limit=1.0,
                others={"plain": timed(reads["plain"])},
                limits={"plain": 1.5},
                own_clock=True,
            )
            for what, ours in OURS.items()
        ),
    ]


def timed(work: Thunk) -> Thunk:
    def seconds() -> float:
        os.sync()
        start = time.perf_counter()
        result = work()
        spent = time.perf_counter() - start
        del result
        return spent

    return seconds
