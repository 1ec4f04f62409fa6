"""What is an array, how a tree is split by a filter and joined again, and what makes a key.

Every transformation starts with these functions. Tests: `tests/filtered_transforms/_filters`.
"""
