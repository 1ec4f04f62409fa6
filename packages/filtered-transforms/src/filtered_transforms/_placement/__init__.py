"""Where the arrays of a tree lie: what may be said of it, and how they are put there.

Guarded by tests/filtered_transforms/_placement.
"""
