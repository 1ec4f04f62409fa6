"""`filter_jit`: what retraces, which program serves a call, donation, waiting for checks.

A call is a hot path: `benchmarks/` measures it. `program_cache.py` decides what retraces.
Tests: `tests/filtered_transforms/_jit`.
"""
