"""Files of leaves by name: the header, how a leaf is encoded, which leaves fit a tree.

The format is safetensors with notes of our own. `header.py` reads what comes from outside, and
trusts nothing. Tests: `tests/tree_surgery/_safetensors`; one of them mutates files.
"""
