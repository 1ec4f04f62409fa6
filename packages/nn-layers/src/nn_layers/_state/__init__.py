"""Where layers keep what lasts from call to call: `State`, `StateIndex`, `make_with_state`.

Tests: `tests/nn_layers/_state`.
"""
