"""What is differentiated and how: gradients, Jacobians, rules of one's own.

Tests: `tests/filtered_transforms/_derivatives`.
"""
