"""Which axis of each leaf is mapped: `filter_vmap`, `filter_pmap`, `filter_shard_map`.

Tests: `tests/filtered_transforms/_mapping`.
"""
