"""Checks without callbacks: what they saw leaves the program as a result.

There is a rule for each primitive that holds other programs: loops, branches, calls, shards.
Tests: `tests/runtime_checks/_functionalise`.
"""
