"""JAX beyond its stable names: the one folder of this distribution that knows how JAX is written.

All else reads programs and primitives by what stands here.

| what is decided | where |
|---|---|
| which classes JAX's programs are of, and when these are imported | `jaxpr_classes.py` |
| what an interpreter sees of an equation | `equations.py` |
| what the jaxprs in an equation are for (calls, loops, branches) | `inner_programs.py` |
| arguments, results and constants of a jaxpr | `jaxprs.py` |
| how a jaxpr is run, in parts too, and traced again | `evaluate.py` |
| how a jaxpr is changed without running it | `rewrite.py` |
| what JAX knows of a jitted function, and how its equation is bound anew | `jitted.py` |
| which effect keeps an equation in a program | `effects.py` |
| how a primitive is made and given its rules | `primitives.py` |
| what rules get for arrays: symbolic zeros, undefined operands, constants | `operands.py` |
| what is traced | `tracers.py` |

Tests: `tests/filtered_transforms/_jax`; `tests/integration/test_imports.py` and
`tests/integration/test_equations_are_read_in_one_place.py` see that nobody else reads JAX.
"""
