"""Layers put together: `Sequential`, `Stacked`, shared layers, inference mode, summaries.

Tests: `tests/nn_layers/_models`.
"""
