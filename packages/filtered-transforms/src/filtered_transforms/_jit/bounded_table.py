"""Tables that threads share."""

import threading
from collections.abc import Hashable
from typing import Any


class Table(dict[Hashable, Any]):
    """A dictionary of at most `limit` entries; the oldest goes first.

    Reading is a dictionary's own, and takes no lock. Whoever adds an entry has found none before,
    made one, and may find on adding it that another thread was quicker.
    """

    __slots__ = ("_limit", "_lock")

    def __init__(self, limit: int):
        super().__init__()
        self._limit = limit
        self._lock = threading.RLock()  # keys are compared, which may come back here

    def add(self, key: Hashable, value: Any) -> Any:
        """The value for `key`: the one that is there, else `value`, which then is."""
        with self._lock:
            if key in self:
                return self[key]
            self._put(key, value)
            return value

    def replace(self, key: Hashable, value: Any) -> Any:
        """`value`, which is the one for `key` from now on."""
        with self._lock:
            self._put(key, value)
            return value

    def _put(self, key: Hashable, value: Any) -> None:
        while len(self) >= self._limit and key not in self:
            del self[next(iter(self))]
        self[key] = value
