"""When two trees are equal, where they first differ, and what a difference looks like.

Tests: `tests/tree_surgery/_compare`.
"""
