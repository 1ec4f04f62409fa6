"""How a tree is printed: which nodes become which documents, and where lines break.

Tests: `tests/tree_surgery/_show`.
"""
