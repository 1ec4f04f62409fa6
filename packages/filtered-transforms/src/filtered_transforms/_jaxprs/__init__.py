"""What is in a jaxpr: the programs within equations, and the one interpreter that evaluates them.

Tests: `tests/filtered_transforms/_jaxprs`.
"""
