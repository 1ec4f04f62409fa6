"""Replacing nodes out of place: `tree_at`, edits by selector, casts, stacking.

Tests: `tests/tree_surgery/_edit`.
"""
