"""What optimisers and gradients see of a tree: frozen and tied leaves, masks, labels, updates.

Tests: `tests/tree_surgery/_training`.
"""
