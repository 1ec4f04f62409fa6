"""Where layers keep what lasts from call to call: `State`, `StateIndex`, `make_with_state`.

Tests: `tests/nn_layers/_state`.
"""

from tree_surgery.extend import lazy_names

# This was a file: pickles written before 0.1.0 name what stood in it. Until 0.2.0.
__getattr__ = lazy_names(__name__, {".state_index": "_Sentinel"})[1]
