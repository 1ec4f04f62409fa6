"""A process that is killed while it saves leaves the checkpoint before, whole."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tree_surgery import Checkpoints

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="signals"), pytest.mark.heavy]

# Saves one checkpoint after the other, and tells which it begins.
SCRIPT = """
import sys
import numpy as np
from tree_surgery import Checkpoints

with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    first = 0 if checkpoints.latest is None else checkpoints.latest + 1
    for step in range(first, first + 1000):
        checkpoints.save(step, {f"w{i}": np.full(100_000, step) for i in range(5)})
        print(step, flush=True)
"""


def test_the_last_checkpoint_is_whole_wherever_a_save_is_killed(tmp_path):
    moments = random.Random(0)
    before = -1
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, tmp_path], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            for _ in range(3):
                assert process.stdout.readline(), "the process ended early"
            time.sleep(moments.uniform(0, 0.2))
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(60)
            process.stdout.close()
        with Checkpoints(tmp_path) as checkpoints:
            step = checkpoints.latest
            assert step is not None and step > before
            like = {f"w{i}": np.zeros(100_000, int) for i in range(5)}
            for each in checkpoints.steps:
                found = checkpoints.load(like, each)
                assert all((x == each).all() for x in found.values())
            # What was begun is tidied up.
            assert sorted(os.listdir(tmp_path)) == sorted(map(str, checkpoints.steps))
            before = step
