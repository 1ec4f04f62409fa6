"""What a node, a leaf and a path are: arrays, PRNG keys, one level of a tree, key paths as text.

What walks a tree or names a place in it starts here. Tests: `tests/tree_surgery/_nodes`.
"""
