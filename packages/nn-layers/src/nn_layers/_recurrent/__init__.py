"""Cells, and how an `RNN` runs them over a sequence: direction, mask, derivative.

Tests: `tests/nn_layers/_recurrent`.
"""
