"""Functions as traced programs: closures as trees, jaxprs with other rules, callbacks, export.

Tests: `tests/filtered_transforms/_tracing`.
"""
