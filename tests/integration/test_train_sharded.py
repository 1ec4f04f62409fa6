"""A job of two processes of which one dies: the other says so, and ends within its time-out."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_sharded.py"
TIMEOUT = 10  # seconds

WAITING = """
import sys, time
import jax

address, timeout, process = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(address, 2, process, heartbeat_timeout_seconds=timeout)
print("started", flush=True)
time.sleep(600)
"""

pytestmark = pytest.mark.devices


def job(tmp_path: Path, commands: Any) -> list[Any]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = []
    for i, command in enumerate(commands(address)):
        with (tmp_path / f"out{i}").open("w") as out:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *command],
                    cwd=tmp_path,
                    env=os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
            )
    return processes


def kill_the_second(processes: list[Any], when: Any) -> int:
    """The code with which the first ends after that; both are gone in any case."""
    first, second = processes
    try:
        end = time.monotonic() + 200
        while not when():
            assert first.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        second.send_signal(signal.SIGKILL)
        return first.wait(8 * TIMEOUT)  # the machine may be slow; nothing else ends it
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_example_ends_and_says_how_to_go_on(tmp_path: Path):
    options = [EXAMPLE, "--steps", "1000000", "--devices", "2", "--processes", "2"]
    options += ["--timeout", str(TIMEOUT)]
    each = lambda address: [  # noqa: E731
        [*options, "--coordinator", address, "--process", str(i)] for i in range(2)
    ]
    saved = lambda: any((tmp_path / "out/sharded").glob("step-*.safetensors"))  # noqa: E731
    code = kill_the_second(job(tmp_path, each), saved)
    printed = (tmp_path / "out0").read_text()
    assert code == 1, printed
    assert re.search(
        r"Process 0 of 2 ends, and so does the job.*goes on from step-\d+\.safetensors\.", printed
    )


def test_a_process_that_only_waits_is_ended(tmp_path: Path):
    (tmp_path / "waiting.py").write_text(WAITING)
    each = lambda address: [  # noqa: E731
        ["waiting.py", address, str(TIMEOUT), str(i)] for i in range(2)
    ]
    started = lambda: all("started" in (tmp_path / f"out{i}").read_text() for i in range(2))  # noqa: E731
    code = kill_the_second(job(tmp_path, each), started)
    printed = (tmp_path / "out0").read_text()
    assert code != 0
    assert re.search("another task died|heartbeat", printed), printed
