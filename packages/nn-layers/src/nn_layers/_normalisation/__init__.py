"""Statistics that are divided by: of an example, of a batch, of a weight.

Tests: `tests/nn_layers/_normalisation`.
"""
