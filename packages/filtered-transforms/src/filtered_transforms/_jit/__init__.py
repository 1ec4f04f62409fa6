"""`filter_jit`: what retraces, which program serves a call, donation, waiting for checks.

A call is a hot path: `benchmarks/` measures it. `program_cache.py` decides what retraces.
Tests: `tests/filtered_transforms/_jit`.
"""

from tree_surgery.extend import lazy_names

# This was a file: pickles written before 0.1.0 name what stood in it. Until 0.2.0.
__getattr__ = lazy_names(__name__, {".filter_jit": "BoundJit, JitWrapper, _registry"})[1]
