"""What a failed check has seen, and the exception that it becomes.

Tests: `test_error_if.py` and `test_sharded.py` in `tests/runtime_checks`.
"""
