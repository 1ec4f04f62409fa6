"""What a failed check has seen, and the exception that it becomes.

Tests: `tests/runtime_checks/_failure`, and `tests/runtime_checks/test_error_if.py`.
"""
