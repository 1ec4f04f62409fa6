"""Which axis of each leaf is mapped: `filter_vmap`, `filter_pmap`, `filter_shard`.

Tests: `tests/filtered_transforms/_mapping`.
"""
