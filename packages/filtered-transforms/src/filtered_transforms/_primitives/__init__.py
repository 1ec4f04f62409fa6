"""Primitives of libraries: rules written for trees, and rules that follow from others.

Tests: `tests/filtered_transforms/_primitives`.
"""
