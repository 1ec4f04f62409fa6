"""Small helpers that libraries take from `internal`: `ω`, neighbours of floats, markers.

Tests: `tests/filtered_transforms/_toolkit`.
"""
