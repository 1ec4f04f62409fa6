"""JAX beyond its stable names: the one folder of this distribution that knows how JAX is written.

Tests: `tests/filtered_transforms/_jaxprs`.
"""
