"""Where the arrays of a tree lie on several devices: rules by path, presets, and what is.

Tests: `tests/tree_surgery/_sharding`.
"""
