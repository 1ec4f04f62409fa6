"""The other examples: each runs with small options, and ends with a figure and a picture."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

# Script: small options, what is printed at the end, and the pictures.
SMALL = {
    "resnet_digits": (
        ["--epochs", "1"],
        r"Test: (?:[5-9]\d|100)\.\d+% right\.\nModel and state, saved and loaded, predict the same",
        ["out/resnet/training.png"],
    ),
    "ensemble_moons": (
        ["--members", "3", "--steps", "60"],
        r"Test loss: 0\.\d+ together; alone 0\.\d+ on average",
        ["out/ensemble/members.png"],
    ),
    "char_transformer": (
        ["--steps", "5"],
        r"blocks\.layers +Block +182,528 .*in each of 4[^$]*Test: [234]\.\d+ nats a character",
        ["out/text/curve.png", "out/text/surprise.png"],
    ),
    "rnn_adding": (
        ["--steps", "5"],
        r"rnn\.cell +LSTMCell +9,792[^$]*Test: mean squared error 0\.\d+",
        ["out/adding/curve.png", "out/adding/memory.png"],
    ),
}


def run(name: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *options],
        cwd=folder,
        env=os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("name", SMALL)
def test_it_runs(name, tmp_path: Path):
    options, printed, pictures = SMALL[name]
    done = run(name, tmp_path, *options)
    assert re.search(printed, done.stdout)
    assert "100%" in done.stderr  # the progress bar
    for picture in pictures:
        data = (tmp_path / picture).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 10_000


def test_a_model_of_70_billion_parameters_is_planned(tmp_path: Path):
    done = run("plan_70b", tmp_path)
    assert "70.55 billion parameters\n256 devices" in done.stdout
    (each,) = re.findall(r"together ([\d.]+) GB", done.stdout)
    assert float(each) <= 40  # with activations constrained and blocks rematerialised
    # Forward, again, and backward: 2 + 2 + 4 operations for each parameter and token.
    (flops,) = re.findall(r"FLOPs, ([\d.e+]+) on all", done.stdout)
    assert float(flops) == pytest.approx(8 * 70.55e9 * 64 * 4096, rel=0.05)
    picture = (tmp_path / "out/plan/70b.svg").read_text()
    assert picture.startswith("<svg") and "256 devices" in picture
