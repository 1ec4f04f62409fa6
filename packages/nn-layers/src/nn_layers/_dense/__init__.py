"""Layers of vectors: affine maps, perceptrons, embeddings, dropout.

Tests: `tests/nn_layers/_dense`.
"""
