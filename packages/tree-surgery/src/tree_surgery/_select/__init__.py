"""Which nodes are meant: the syntax of path patterns, how they match, and selectors.

Tests: `tests/tree_surgery/_select`.
"""
