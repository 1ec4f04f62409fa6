"""The one interpreter of jaxprs, with rules in the place of some of their equations.

How jaxprs are read is decided in `_jax`. Tests: `tests/filtered_transforms/_jaxprs`.
"""
