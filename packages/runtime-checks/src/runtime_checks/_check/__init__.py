"""The primitive behind every check, and what happens when it fails: raise, break, or go on.

Tests: `test_error_if.py` and `test_on_error.py` in `tests/runtime_checks`.
"""
