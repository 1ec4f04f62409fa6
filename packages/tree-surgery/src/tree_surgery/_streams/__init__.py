"""Bytes on their way to and from files: opening, whole files or none, arrays on the host.

Knows nothing of file formats; those stand in `_npy` and `_safetensors`.
Tests: `tests/tree_surgery/_streams`.
"""
