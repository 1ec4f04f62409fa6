"""Where the arrays of a tree lie: what may be said of it, and how they are put there.

Tests: `tests/filtered_transforms/_placement`.
"""
