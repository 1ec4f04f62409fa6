"""The primitive behind every check, and what happens when it fails: raise, break, or go on.

Tests: `tests/runtime_checks/_check`, `tests/runtime_checks/test_error_if.py`,
`tests/runtime_checks/test_on_error.py`.
"""
