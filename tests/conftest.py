"""What holds for every test, whichever distributions are installed.

A distribution's tests also run against its wheel alone, so nothing of ours is imported here.
"""

import gc
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

# Before JAX is imported: two devices, so that sharding is tested on every machine, and no others.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
).strip()
os.environ["JAX_PLATFORMS"] = "cpu"

# Programs that are equal are compiled once for all tests and processes: compiling is more than half
# of the suite's time. A folder that the environment names is used instead, and stays: the gate does
# so, for its steps run many tests twice.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _programs = tempfile.TemporaryDirectory(prefix="programs-of-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax
import pytest
from hypothesis import HealthCheck, settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# `default` draws the same examples in every run, so that a failure in CI is a failure at home;
# HYPOTHESIS_PROFILE=long searches further, and prints the blob that reproduces what it finds.
# No deadline: the first example of a jitted function compiles it.
_ALWAYS = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", derandomize=True, max_examples=25, database=None, **_ALWAYS)
settings.register_profile("long", max_examples=1000, **_ALWAYS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases",
        type=int,
        metavar="N",
        help="of each parametrised test only N cases, spread evenly; which they are differs from "
        "test to test, so that each parameter comes in some. To try one more environment quickly.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    most = config.getoption("cases")
    if most is None:
        return
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    chosen: set[pytest.Item] = set()
    for name, cases in tests.items():
        first, count = zlib.crc32(name.encode()), min(most, len(cases))
        chosen.update(cases[(first + i * len(cases) // count) % len(cases)] for i in range(count))
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def pytest_report_header() -> str:
    return f"jax {jax.__version__}, {jax.device_count()} {jax.default_backend()} devices"


@pytest.fixture(autouse=True, scope="module")
def _what_earlier_tests_left_is_not_searched_again() -> None:
    """Programs and traces that JAX keeps become millions of objects in a process of thousands of
    tests. Each `gc.collect()` of a test, and each search of JAX for leaks, would go through all of
    them: more than half of the time of the suite. Objects of the test itself are collected."""
    gc.collect()
    gc.freeze()


class Switches:
    """Two threads, with a switch from the one to the other at each line in turn."""

    def __init__(self, *files: str):
        self.files = files

    def of(self, pair: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]) -> Iterator[Any]:
        """The results of two functions, `pair()` anew each time; once for each line of the first.

        Before the first runs that line of `files`, the second runs from beginning to end, or until
        it waits for the first.
        """
        for line in itertools.count():
            first, second = pair()
            other = _Thread(second)
            seen = itertools.count()

            def trace(
                frame: FrameType, event: str, _: Any, other: Any = other, seen: Any = seen,
                line: int = line,
            ) -> Any:  # fmt: skip
                if not frame.f_code.co_filename.endswith(self.files):
                    return None
                if event == "line" and next(seen) == line:
                    other.start()
                    other.join(0.1)
                return trace

            def traced(first: Any = first, trace: Any = trace) -> Any:
                sys.settrace(trace)
                try:
                    return first()
                finally:
                    sys.settrace(None)

            one = _Thread(traced)
            one.start()
            one.join()
            if other.ident is None:  # there are no more lines
                assert line > 0, f"nothing runs in {self.files}"
                return
            other.join()
            yield one.result(), other.result()


class _Thread(threading.Thread):
    def __init__(self, function: Callable[[], Any]):
        super().__init__(daemon=True)
        self.function = function
        self.out: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.out = self.function()
        except BaseException as error:
            self.error = error

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.out


@pytest.fixture
def switches() -> type[Switches]:
    return Switches


def _job(script: Path, *arguments: str) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", script, str(port), "2", str(i), *arguments],
            env=os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [p.returncode for p in processes] == [0, 0], "\n".join(outputs)
    assert all(output.endswith("done\n") for output in outputs)


@pytest.fixture
def run_job() -> Callable[..., None]:
    """Runs a script in the two processes of a job, which it is told as PORT, 2 and its number.

    Each of them has to end well, and to print "done" last.
    """
    return _job
