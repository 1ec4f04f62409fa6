"""Files of leaves in order, in NumPy's format, and the default filter specs.

Tests: `tests/tree_surgery/_npy`.
"""
