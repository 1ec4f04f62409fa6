"""Replacing nodes out of place: `tree_at`, edits by selector, casts, stacking.

Tests: `tests/tree_surgery/_edit`.
"""

from tree_surgery._lazy import lazy_names

# This was a file: pickles written before 0.1.0 name what stood in it. Until 0.2.0.
__getattr__ = lazy_names(__name__, {".by_selector": "At, Selection"})[1]
