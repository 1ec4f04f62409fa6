"""A table that threads share and that does not grow for ever."""

import threading
from collections.abc import Hashable
from typing import Any


class BoundedTable(dict[Hashable, Any]):
    """A dictionary of at most `limit` entries; the oldest entry is dropped first.

    Reads are plain dictionary reads without a lock. Writes take the lock of the table. A thread
    that finds no entry makes one and calls `add`, which returns the entry of another thread if that
    thread was first.
    """

    __slots__ = ("_limit", "_lock")

    def __init__(self, limit: int):
        super().__init__()
        self._limit = limit
        self._lock = threading.RLock()  # adding compares keys, which may add to this table

    def add(self, key: Hashable, value: Any) -> Any:
        """Insert `value` unless `key` exists. Returns the stored value."""
        with self._lock:
            if key in self:
                return self[key]
            self._put(key, value)
            return value

    def replace(self, key: Hashable, value: Any) -> Any:
        """Set the value for `key`. Returns `value`."""
        with self._lock:
            self._put(key, value)
            return value

    def _put(self, key: Hashable, value: Any) -> None:
        while len(self) >= self._limit and key not in self:
            del self[next(iter(self))]
        self[key] = value
