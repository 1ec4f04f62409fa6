"""What all layers share: initialisers, dtypes, keys, errors of shapes, how they are called.

`layer_protocol.py` decides how containers call layers. Tests: `tests/nn_layers/_core`.
"""
