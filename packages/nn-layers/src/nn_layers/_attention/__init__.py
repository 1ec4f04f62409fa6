"""Attention: heads and their groups, masks, the cache of keys and values, rotary positions.

Tests: `tests/nn_layers/_attention`.
"""
