"""Whatever happens while a tree is saved, at its path there is the old file or the new, whole."""

import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tree_surgery as ts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="fork, signals and limits")

# A process that saves over an old file again and again, each time in a child that dies one call
# into the system later. No array of JAX is made: its threads are not there to be forked.
SCRIPT = """
import errno, io, os, resource, signal, sys, threading
import numpy as np

events, die = 0, None

def event():
    global events
    events += 1
    if events == die:
        if how == "exit":
            os._exit(77)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, "No space left on device")

lock = threading.Lock()

def watched(call):
    def wrapper(*args, **kwargs):
        with lock:
            event()
        result = call(*args, **kwargs)
        with lock:
            event()
        return result
    return wrapper

class File(io.FileIO):
    write = watched(io.FileIO.write)
    seek = watched(io.FileIO.seek)
    close = watched(io.FileIO.close)

io.FileIO = File
for name in ("fsync", "fdatasync", "replace", "chmod", "open"):
    setattr(os, name, watched(getattr(os, name)))

import tree_surgery as ts

folder, how = sys.argv[1:]
FORMATS = {
    "m.safetensors": (lambda p, t: ts.save(p, t, metadata={"n": 1}), ts.load),
    "m.eqx": (ts.tree_serialise_leaves, ts.tree_deserialise_leaves),
}
old = {"w": np.zeros(1000), "v": [np.zeros(3), 1]}
new = {"w": np.ones((40, 1 << 16)), "v": [np.ones(3), 2]}  # 21 MB: enough for a sync in between

for name, (write, read) in FORMATS.items():
    path = os.path.join(folder, name)
    outcomes = []
    for point in range(1, 200, 1 if how == "exit" else 3):
        write(path, old)
        os.chmod(path, 0o640)
        before = set(os.listdir(folder))
        child = os.fork()
        if not child:
            events, die = 0, point
            try:
                write(path, new)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                assert set(os.listdir(folder)) == before, "something was left behind"
                os._exit(78)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.stat(path).st_mode & 0o777 == 0o640
        found = None
        for which, tree in (("old", old), ("new", new)):
            try:
                back = read(path, tree)
            except ts.SerialiseError:
                continue
            assert ts.tree_equal(back, tree)
            found = which
        outcomes.append(found)
        for left in set(os.listdir(folder)) - before:
            os.unlink(os.path.join(folder, left))
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            break
        if how == "kill":
            assert os.WIFSIGNALED(status)
        else:
            assert os.WEXITSTATUS(status) == {"exit": 77, "raise": 78}[how]
    print(name, *outcomes)
"""


@pytest.mark.parametrize("how", ["exit", "kill", "raise"])
def test_dying_at_every_call_into_the_system(tmp_path, how):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), how],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        _, *outcomes = line.split()
        assert len(outcomes) > (10 if how == "exit" else 4) and set(outcomes) == {"old", "new"}, (
            line
        )
        assert (outcomes[0], outcomes[-1]) == ("old", "new")
    assert len(done.stdout.splitlines()) == 2


FORMATS = {
    "safetensors": (ts.save, ts.load),
    "eqx": (ts.tree_serialise_leaves, ts.tree_deserialise_leaves),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_killed_at_any_time(tmp_path, kind):
    """A real kill, from outside, of a process that saves one tree after the other."""
    write, read = FORMATS[kind]
    path = tmp_path / "m"
    write(path, [np.full(1 << 18, 0.0), 0])
    code = f"""
import numpy as np, tree_surgery as ts
for i in range(1, 10**6):
    ts.{write.__name__}({str(path)!r}, [np.full(1 << 18, float(i)), i])
    print(i, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(3):
        last = int(process.stdout.readline())
    time.sleep(0.0123)
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    last = int(rest[-1]) if rest else last
    x, i = read(path, [np.zeros(1 << 18), 0])
    assert i in (last, last + 1) and (x == i).all()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_limit_on_the_size_of_files(tmp_path, kind):
    """The system itself refuses to write any further, as where a disk is full."""
    write, read = FORMATS[kind]
    write(tmp_path / "m", [np.zeros(3)])
    code = f"""
import resource, signal
import numpy as np, tree_surgery as ts
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    ts.{write.__name__}({str(tmp_path / "m")!r}, [np.ones(10**6)])
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == errno.EFBIG
    assert len(os.listdir(tmp_path)) == 1
    assert read(tmp_path / "m", [np.ones(3)])[0].tolist() == [0, 0, 0]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="of Linux")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_device(kind):
    with pytest.raises(OSError) as info:
        FORMATS[kind][0]("/dev/full", [np.ones(10**6)])
    assert info.value.errno == errno.ENOSPC


class Failing(io.BytesIO):
    def __init__(self, after):
        super().__init__()
        self.after = after

    def write(self, data):
        self.after -= len(data)
        if self.after < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_object_that_fails(kind):
    write, _ = FORMATS[kind]
    tree = {"a": np.ones(100), "b": np.ones(100)}
    whole = io.BytesIO()
    write(whole, tree)
    for after in range(0, len(whole.getvalue()), 50):
        with pytest.raises(OSError) as info:
            write(Failing(after), tree)
        assert info.value.errno == errno.ENOSPC
    assert any("`" in note for note in info.value.__notes__)  # it says at which leaf
    write(Failing(len(whole.getvalue())), tree)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_failing_disk_is_not_forgotten(tmp_path, kind):
    """Linux reports a failed write to the disk once, be it while we are still writing."""
    write, _ = FORMATS[kind]
    write(tmp_path / "m", [np.zeros(3)])
    before = os.listdir(tmp_path)
    script = f"""
import errno, io, os, threading
import numpy as np
failed = threading.Event()
def fail(descriptor):
    failed.set()
    raise OSError(errno.EIO, "Input/output error")
class File(io.FileIO):
    written = 0
    def write(self, data):
        self.written += len(data)
        if self.written > 18 << 20:
            failed.wait(10)  # until the sync has begun
        return super().write(data)
os.fdatasync = fail
io.FileIO = File
import tree_surgery as ts
try:
    ts.{write.__name__}({str(tmp_path / "m")!r}, [np.ones((20, 1 << 17))])
except OSError as error:
    print(error.errno)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == errno.EIO
    assert os.listdir(tmp_path) == before


def test_threads_save_to_one_path(tmp_path):
    """Who is last wins; nobody sees a mixture, and nothing is left behind."""
    path = tmp_path / "m"
    failures = []

    def work(i):
        try:
            for _ in range(5):
                ts.save(path, {"x": np.full(10_000, i)})
                x = ts.load(path, {"x": np.zeros(10_000, int)})["x"]
                assert (x == x[0]).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and os.listdir(tmp_path) == ["m.safetensors"]
