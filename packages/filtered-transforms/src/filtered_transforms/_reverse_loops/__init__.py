"""Loops with a reverse mode: the schedule of checkpoints, buffers, the way back.

`checkpoint_schedule.py` decides which states are kept. Tests:
`tests/filtered_transforms/_reverse_loops`; they hold the number of steps to Equinox's.
"""
