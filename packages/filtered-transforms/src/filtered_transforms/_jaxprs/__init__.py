<<<<<<< HEAD
"""The contents of a jaxpr: inner programs of equations, and the interpreter that evaluates them.
=======
"""The one interpreter of jaxprs, with rules in the place of some of their equations.
>>>>>>> jaxpkg

How jaxprs are read is decided in `_jax`. Tests: `tests/filtered_transforms/_jaxprs`.
"""
