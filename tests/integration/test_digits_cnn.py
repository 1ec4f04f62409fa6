"""The demo: the whole of it once, and its reader of MNIST's files on small ones written here."""

import gzip
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = {
    "train images": "train-images-idx3-ubyte",
    "train labels": "train-labels-idx1-ubyte",
    "t10k images": "t10k-images-idx3-ubyte",
    "t10k labels": "t10k-labels-idx1-ubyte",
}


@pytest.fixture
def idx(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import idx

    return idx


def as_idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 0x08, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, train: int = 40, test: int = 20) -> dict[str, np.ndarray]:
    """Four small files: each digit is a bright square at its own place. Labels are gzipped."""
    rng = np.random.default_rng(0)
    written = {}
    for part, n in (("train", train), ("t10k", test)):
        labels = rng.integers(0, 10, n)
        images = rng.integers(0, 50, (n, 12, 10))
        for image, label in zip(images, labels, strict=True):
            image[label : label + 3, label % 7 : label % 7 + 3] = 255
        written |= {f"{part} images": images, f"{part} labels": labels}
        (folder / NAMES[f"{part} images"]).write_bytes(as_idx(images))
        packed = gzip.compress(as_idx(labels))
        (folder / f"{NAMES[f'{part} labels']}.gz").write_bytes(packed)
    return written


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "digits_cnn.py"), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def is_picture(file: Path) -> bool:
    return file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 10_000


def test_the_main_job(tmp_path: Path):
    done = run(cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(re.search(r"([\d.]+)% right", done.stdout).group(1)) >= 97
    assert "every leaf and prediction is the same" in done.stdout
    # The summary: layers by path, and the number of parameters that this network has.
    assert re.search(r"features\.layers\[0\] +Conv2d +160 +float32\[16,8,8\]", done.stdout)
    count = 160 + (32 * 16 * 9 + 32) + (64 * 512 + 64) + 2 * 64 + (10 * 64 + 10)
    assert re.search(rf"total +CNN +{count:,} ", done.stdout)
    assert "val_accuracy=" in done.stderr  # the progress bar
    assert "loss=" in done.stderr
    out = tmp_path / "out" / "digits"
    assert (out / "model.safetensors").stat().st_size > 4 * count
    assert is_picture(out / "curve.png")
    assert is_picture(out / "predictions.png")


def test_mnist_and_options(tmp_path: Path):
    write_mnist(tmp_path)
    options = ("--mnist", tmp_path, "--epochs", 2, "--batch-size", 8, "--seed", 3, "--out", "here")
    done = run(*options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MNIST: 36 train, 4 validation, 20 test; 12 x 10 pixels" in done.stdout
    assert "every leaf and prediction is the same" in done.stdout
    assert is_picture(tmp_path / "here" / "predictions.png")


def test_a_fault_in_the_data_is_one_clear_line(tmp_path: Path):
    done = run("--mnist", tmp_path / "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*nowhere is no folder\. .*four files of MNIST\.\n", done.stderr)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_reads_what_was_written(idx, tmp_path: Path, packed: bool, dotted: bool):
    written = write_mnist(tmp_path)
    for key, name in NAMES.items():
        for old in tmp_path.glob(f"{name}*"):
            old.unlink()
        name = name.replace("-idx", ".idx") if dotted else name
        data = as_idx(written[key])
        (tmp_path / (f"{name}.gz" if packed else name)).write_bytes(
            gzip.compress(data) if packed else data
        )
    for part in ("train", "t10k"):
        images, labels = idx.read_pair(tmp_path, part)
        np.testing.assert_array_equal(images, written[f"{part} images"])
        np.testing.assert_array_equal(labels, written[f"{part} labels"])


GOOD = as_idx(np.arange(6).reshape(2, 3))
FAULTS = {
    "empty": (b"", "no IDX file"),
    "text": (b"P5 28 28", "no IDX file: it begins with b'P5 2'"),
    "header cut": (GOOD[:7], "truncated: 7 bytes, and the header alone has 12"),
    "one byte short": (GOOD[:-1], "truncated: its header promises 2 x 3.* 18 bytes; it has 17"),
    "one byte more": (GOOD + b"\0", "too long"),
    "other axes": (as_idx(np.zeros(3)), "1 axes instead of 0x08 and 2"),
    "other type": (GOOD[:2] + b"\x0d" + GOOD[3:], "element type 0x0d"),
    "gzip cut": (gzip.compress(GOOD)[:-9], "damaged or truncated gzip"),
    "gzip damaged": (gzip.compress(GOOD)[:12] + b"\xff" * 20, "damaged or truncated gzip"),
    "gzip of text": (gzip.compress(b"hello, world"), "no IDX file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_or_foreign_file(idx, tmp_path: Path, fault: str):
    data, match = FAULTS[fault]
    file = tmp_path / "some-file"
    file.write_bytes(data)
    with pytest.raises(idx.IdxError, match=match) as caught:
        idx.read_idx(file, axes=2)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("key", NAMES)
def test_a_missing_file_is_named(idx, tmp_path: Path, key: str):
    write_mnist(tmp_path)
    for file in tmp_path.glob(f"{NAMES[key]}*"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=f"holds no {NAMES[key]}"):
        for part in ("train", "t10k"):
            idx.read_pair(tmp_path, part)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.zeros(39), "40 images, but .* 39 labels"),
        (np.full(40, 10), "holds a label 10; digits are 0 to 9"),
    ],
)
def test_files_that_do_not_belong_together(idx, tmp_path: Path, labels, match):
    write_mnist(tmp_path)
    (tmp_path / NAMES["train labels"]).write_bytes(as_idx(labels))  # found before the gzipped one
    with pytest.raises(idx.IdxError, match=match):
        idx.read_pair(tmp_path, "train")
