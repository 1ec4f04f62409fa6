"""Functions as traced programs: closures as PyTrees, jaxprs with other rules, callbacks, export.

Tests: `tests/filtered_transforms/_tracing`.
"""
