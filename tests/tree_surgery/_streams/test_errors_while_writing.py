"""If a tree cannot be written, the old file stays as it was, and nothing is left beside it."""

import errno
import os
import signal
import stat
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import tree_surgery as ts


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.eqx"
    ts.tree_serialise_leaves(path, [jnp.zeros(3), 1])
    before = path.read_bytes()
    yield path
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.eqx"]


def test_a_leaf_that_cannot_be_saved(saved):
    with pytest.raises(ts.SerialiseError, match=r"`\[1\]`.*Python objects"):
        ts.tree_serialise_leaves(saved, [jnp.ones(3), np.array([object()])])


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError()]
)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_error_while_writing(saved, error, after):
    count = 0

    def spec(f, x):
        nonlocal count
        ts.default_serialise_filter_spec(f, x)
        count += 1
        if count > after:
            raise error

    expected = ts.SerialiseError if isinstance(error, ValueError) else type(error)
    with pytest.raises(expected):
        ts.tree_serialise_leaves(saved, [jnp.ones(3), 2, 3], filter_spec=spec)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_at_the_end(saved, monkeypatch, call):
    def fail(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="broken"):
        ts.tree_serialise_leaves(saved, [jnp.ones(3), 2])


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_while_writing(tmp_path):
    path = tmp_path / "model.eqx"
    ts.tree_serialise_leaves(path, [1.5] * 3)
    before = path.read_bytes()
    code = f"""
import os, signal
import tree_surgery as ts
left = [2]
def spec(f, x):
    ts.default_serialise_filter_spec(f, x)
    f.flush()
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
ts.tree_serialise_leaves({str(path)!r}, [2.5] * 3, filter_spec=spec)
"""
    process = subprocess.run([sys.executable, "-c", code], check=False)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert ts.tree_deserialise_leaves(path, [0.0] * 3) == [1.5] * 3


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_links_and_modes_stay(tmp_path):
    target, link = tmp_path / "target.eqx", tmp_path / "link.eqx"
    ts.tree_serialise_leaves(target, [1])
    target.chmod(0o640)
    link.symlink_to(target)
    ts.tree_serialise_leaves(link, [2])
    assert link.is_symlink()
    assert ts.tree_deserialise_leaves(target, [0]) == [2]
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    ts.tree_serialise_leaves("/dev/null", [1])
    assert not os.path.exists("/dev/null.eqx")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
