"""The contents of a jaxpr: inner programs of equations, and the interpreter that evaluates them.

Tests: `tests/filtered_transforms/_jaxprs`.
"""
