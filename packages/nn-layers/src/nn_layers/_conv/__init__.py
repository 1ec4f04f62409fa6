"""Convolutions and pools: the meaning of `padding`, the shape of the output, groups.

`padding.py` decides all paddings. Tests: `tests/nn_layers/_conv`; against PyTorch `tests/oracle`.
"""
