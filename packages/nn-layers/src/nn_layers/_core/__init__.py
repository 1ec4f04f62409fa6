"""What all layers share: initialisers, dtypes of computations, keys, errors of shapes.

Tests: those of `tests/nn_layers` that stand in no folder, which hold for every layer.
"""
