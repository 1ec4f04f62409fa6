"""For authors of libraries: what filtered transformations are made of.

- `hashable_partition`, `hashable_combine`: a tree as a list of arrays and a hashable rest.
- `register_check`, `Carried`: how a run-time check reaches `filter_jit`.
- `observe_traces`: to be told what `filter_jit` traces.
"""

from ._checks import Carried as Carried
from ._checks import register_check as register_check
from ._hashable import hashable_combine as hashable_combine
from ._hashable import hashable_partition as hashable_partition
from ._observe import observe_traces as observe_traces

__all__ = [
    "Carried",
    "hashable_combine",
    "hashable_partition",
    "observe_traces",
    "register_check",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
