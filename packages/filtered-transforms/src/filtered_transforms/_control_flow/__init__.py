"""Branches, maps and the public loops: `jax.lax` with any values, and with kinds of loops.

How a loop of a kind runs is decided in `_reverse_loops`.
Tests: `tests/filtered_transforms/_control_flow`.
"""
