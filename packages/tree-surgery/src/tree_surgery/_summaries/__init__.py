"""Tables about a tree: sizes, counts, and how a table is written as text, Markdown or HTML.

Tests: `tests/tree_surgery/_summaries`.
"""
