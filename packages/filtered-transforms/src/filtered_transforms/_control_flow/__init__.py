"""Branches and loops as in `jax.lax`, whose carry may hold values that are no arrays.

Tests: `tests/filtered_transforms/_control_flow`.
"""
