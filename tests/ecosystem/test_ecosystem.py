"""Released libraries written for Equinox do the same on the alias as on Equinox itself.

`hatch run ecosystem` runs this folder, in an environment that has them all and Equinox; a plain
`pytest` leaves it out. Each program of `programs/` does the main job of one library. It runs twice,
each time in a process of its own: on `equinoctial.as_equinox`, and on Equinox. All numbers that it
hands over are compared, to the last bit where `TOLERANCE` says
nothing else: the two trace to programs that XLA computes alike.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

PROGRAMS = Path(__file__).parent / "programs"
ALIAS = ("-m", "equinoctial.as_equinox")

TOLERANCE = {
    # Twelve steps of Adam on a batch of adaptive solves: our checkpointed loop adds the cotangents
    # of a batch up in another order, which is the last bit of float64 after the first step.
    ("diffrax", "['training']"): 1e-14,
    # The gradient through a bounded loop: the last bit, in one of its numbers. Seen since loops
    # hand all arrays to their rules; what XLA then computes otherwise has not been traced.
    ("diffrax", "['DirectAdjoint']"): 1e-15,
}
"""Of the largest element of an array. Of what is not here every bit has to agree."""

CANNOT = {
    # The last release is of March 2023. It, and every one before it, imports
    # `equinox.custom_types`, `equinox.experimental` or both, which Equinox no longer has.
    "eqxvision": ("0.2.8", "ModuleNotFoundError: No module named 'equinox.experimental'"),
}


def names() -> list[str]:
    return sorted(path.stem.removeprefix("use_") for path in PROGRAMS.glob("use_*.py"))


def run(name: str, folder: Path, *interpreter: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, which takes no part in the settings of this one."""
    out = folder / ("alias.npz" if interpreter else "equinox.npz")
    command = [sys.executable, *interpreter, str(PROGRAMS / f"use_{name}.py"), str(out)]
    kept = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    kept["JAX_PLATFORMS"] = "cpu"
    return subprocess.run(command, env=kept, capture_output=True, text=True, timeout=1200)


def load(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    with np.load(path) as file:
        numbers = {key: file[key] for key in file.files}
    return numbers, json.loads(str(numbers.pop("proof")))


@pytest.mark.parametrize("name", [name for name in names() if name not in CANNOT])
def test_the_same_numbers(name: str, tmp_path: Path):
    for interpreter in (ALIAS, ()):
        done = run(name, tmp_path, *interpreter)
        assert done.returncode == 0, done.stderr
    ours, our_proof = load(tmp_path / "alias.npz")
    theirs, their_proof = load(tmp_path / "equinox.npz")

    assert our_proof["module"] == "pytree_module"
    assert their_proof["module"].startswith("equinox.")
    assert our_proof["version"] == their_proof["version"] == version("equinox")
    assert our_proof["warnings"] == their_proof["warnings"]

    assert ours.keys() == theirs.keys() and ours
    for key, value in theirs.items():
        tolerance = next(
            (t for (n, k), t in TOLERANCE.items() if n == name and key.startswith(k)), 0
        )
        assert ours[key].dtype == value.dtype and ours[key].shape == value.shape, key
        if value.dtype.kind in "fc":
            largest = np.abs(value[np.isfinite(value)]).max(initial=0)  # diffrax fills with inf
            np.testing.assert_allclose(
                ours[key],
                value,
                rtol=0,
                atol=tolerance * largest,
                err_msg=key,
            )
        else:
            np.testing.assert_array_equal(ours[key], value, err_msg=key)
    for key, value in theirs.items():
        if value.dtype == bool and "raises" in key:
            assert value.all(), f"{key}: neither side raised what the library promises"


@pytest.mark.parametrize("name", CANNOT)
def test_what_cannot_run_fails_on_equinox_as_well(name: str, tmp_path: Path):
    installed, message = CANNOT[name]
    assert version(name) == installed, "a new release: it may work"
    for interpreter in (ALIAS, ()):
        done = run(name, tmp_path, *interpreter)
        assert done.returncode == 1
        # On the alias the message goes on to say that there is an alias.
        assert done.stderr.splitlines()[-1].startswith(message)


def test_each_library_has_a_program():
    libraries = "lineax optimistix diffrax optax distreqx flowjax quax haliax jaxtyping orbax"
    assert names() == sorted([*libraries.split(), "treescope", "sympy2jax", "eqxvision"])
