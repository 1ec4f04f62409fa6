"""Checks without callbacks: their observed values become outputs of the program.

There is a rule for each primitive that holds other programs: loops, branches, calls, shards.
Tests: `tests/runtime_checks/_functionalise`.
"""
