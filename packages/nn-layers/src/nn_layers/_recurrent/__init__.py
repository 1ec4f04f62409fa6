"""Cells, and how an `RNN` runs them over a sequence: direction, mask, derivative.

Tests: `tests/nn_layers/_recurrent`.
"""

from tree_surgery.extend import lazy_names

# This was a file: pickles written before 0.1.0 name what stood in it. Until 0.2.0.
__getattr__ = lazy_names(__name__, {".gru_cell": "GRUCell", ".lstm_cell": "LSTMCell"})[1]
