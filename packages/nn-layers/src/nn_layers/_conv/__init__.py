"""Convolutions and pools: the meaning of `padding`, the shape of the output, groups.

`padding.py` decides all paddings. Tests: `tests/nn_layers/_conv`; against PyTorch `tests/oracle`.
"""

from tree_surgery.extend import lazy_names

# This was a file: pickles written before 0.1.0 name what stood in it. Until 0.2.0.
__getattr__ = lazy_names(__name__, {".conv": "Conv"})[1]
