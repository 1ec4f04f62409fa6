"""`Checkpoints`: a folder of checkpoints, which orbax-checkpoint writes and reads.

| what is decided | where |
|---|---|
| which checkpoints are kept, and what a user sees | `checkpoints.py` |
| what orbax gets of each leaf, and what the notes beside it say | `stored_tree.py` |
| what is read for a tree, and where it is put | `restore.py` |
| to and from safetensors files, leaf by leaf | `safetensors_files.py` |

Tests: `tests/tree_surgery/_checkpoints`.
"""
