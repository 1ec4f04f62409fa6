"""Flat dictionaries of arrays by dotted path, of this and of other libraries.

Tests: `tests/tree_surgery/_state_dict`.
"""
