"""Loops with reverse mode: checkpoint schedules, buffers, the backward pass.

`checkpoint_schedule.py` decides which states are checkpointed. Tests:
`tests/filtered_transforms/_reverse_loops`; they compare the number of steps with Equinox's.
"""
