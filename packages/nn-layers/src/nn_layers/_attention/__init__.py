"""Attention: heads and their groups, masks, the cache of keys and values, rotary positions.

Tests: `tests/nn_layers/_attention`.
"""

from tree_surgery.extend import lazy_names

# This was a file: pickles written before 0.1.0 name what stood in it. Until 0.2.0.
__getattr__ = lazy_names(__name__, {".multihead": "MultiheadAttention"})[1]
