"""Compare our layers with Equinox's, number by number.

    python benchmarks/parity_layers.py [--verbose] [--only REGEX]

Each side builds every layer of a grid of options from the same key, in a process of its own, and
writes down: the parameters with their key paths, the static fields, the printed tree, the outputs,
the gradients with respect to parameters and input; or the type of the error. Then the two are
compared: exactly, but for gradients, which may differ in the last bits. Of each kind of layer and
each dtype, each side also saves a checkpoint, loads that of the other, and has to compute its own
outputs from it. Runs where Equinox is installed (the `bench` environment); exits with 1 if anything
differs that is not listed in `KNOWN`.
"""

import argparse
import importlib
import os
import pickle
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import parity_bound
import parity_subjects
from parity_bound import Bound
from parity_subjects import Build, Subject

# Where ours is meant to differ: beginning of the name, what differs, and why.
KNOWN = {
    ("error Linear", "outcome"): "a wrong shape is a ShapeError, before any product is computed",
    ("error MLP", "outcome"): "the same",
    ("error Conv", "outcome"): "the same; sizes are checked when the layer is made",
    ("error MaxPool", "outcome"): "the same; the peer raises AssertionError",
    ("MaxPool1d", "outcome"): "use_ceil works too where the stride is larger than the padded rest",
    ("AvgPool1d", "outcome"): "the same",
    ("error LayerNorm", "outcome"): "a ShapeError, which is a ValueError",
    ("Dropout 1.0", "gradients"): "0 instead of NaN",
    ("error RMSNorm", "outcome"): "the same",
    ("error GroupNorm shape", "outcome"): "the same",
    ("error GRUCell", "outcome"): "the same",
    ("error LSTMCell", "outcome"): "a TypeError says that a pair is expected",
    ("PReLU 0.25 half", "gradients"): "that of the slope is summed in float32",
    ("error MultiheadAttention", "outcome"): "a ShapeError",
    ("MultiheadAttention bfloat16", "checkpoint"): "the peer cannot read a NumPy bfloat16 array",
    ("RotaryPositionalEmbedding bfloat16", "output"): "products of bfloat16 tables in float32",
    ("AdaptiveAvgPool2d", "output"): "one mean a window instead of one a dimension: the last bit",
    ("AdaptiveAvgPool3d", "output"): "the same",
    ("AdaptivePool std", "output"): "the operation is applied once, also where the size divides",
    ("AdaptivePool std", "gradients"): "the same",
    ("error AdaptiveAvgPool1d", "outcome"): "a ShapeError",
    ("error PReLU", "outcome"): "a ShapeError",
    ("error Embedding batch", "outcome"): "a ShapeError",
    ("BatchNorm half", "output"): "the output has the dtype of the input",
    ("BatchNorm half", "gradients"): "the same",
    ("BatchNorm", "printed"): "there is one more option, `init_variance`",
    ("BatchNorm", "static"): "the same",
    ("error BatchNorm channels", "outcome"): "a ShapeError",
    ("error Dropout", "outcome"): "a probability outside [0, 1] is refused",
    ("WeightNorm", "printed"): "all instances hold one function which computes the norm",
    ("WeightNorm half", "output"): "norms in float32",
    ("WeightNorm half", "arrays"): "the same",
    ("WeightNorm half", "gradients"): "the same",
    ("SpectralNorm half", "output"): "the same",
    ("SpectralNorm half", "gradients"): "the same",
    ("SpectralNorm half", "arrays"): "the same",
    ("MLP", "printed"): "the default activations have names: no lambda",
    ("Sequential", "printed"): "the same",
    ("Lambda", "printed"): "the same",
}


def all_subjects(only: str) -> Iterator[Subject]:
    """Those whose name has this regular expression."""
    for module, names in (
        (parity_subjects, "linears convs pools others norms transposes adaptives errors"),
        (parity_bound, "units stateful attentions wrappers"),
    ):
        for name in names.split():
            yield from (
                subject for subject in getattr(module, name)() if re.search(only, subject[0])
            )


def kind_of(name: str) -> str:
    """Layer and dtype of a subject: one of each kind is saved, and differentiated in any case."""
    dtypes = re.findall("half|b?float16|float32|complex64", name)
    return " ".join([name.split()[0], *dtypes[:1]])


def examine(
    build: Build, x: Any, nn: Any, tree_pformat: Any, differentiate: bool
) -> dict[str, Any]:
    try:
        layer = build(nn)
        y = layer(jnp.asarray(x), key=jax.random.PRNGKey(7))
    except Exception as error:
        return {"outcome": type(error).__name__}
    inner = layer.layer if isinstance(layer, Bound) else layer
    found: dict[str, Any] = {"outcome": "ok", "output": y, "printed": tree_pformat(inner)}
    leaves, treedef = jax.tree_util.tree_flatten_with_path(layer)
    is_array = [isinstance(leaf, jax.Array) for _, leaf in leaves]
    found["paths"] = [jax.tree_util.keystr(path) for path, _ in leaves]
    found["arrays"] = [leaf for (_, leaf), yes in zip(leaves, is_array, strict=True) if yes]
    found["others"] = [
        repr(leaf).split(" at 0x")[0]
        for (_, leaf), yes in zip(leaves, is_array, strict=True)
        if not yes and not callable(leaf)
    ]
    static = {
        name: getattr(inner, name)
        for name, field in getattr(inner, "__dataclass_fields__", {}).items()
        if field.metadata.get("static")
    }
    found["static"] = repr(static)
    fill = [leaf for _, leaf in leaves]

    def loss(own: list[Any], x: Any) -> Any:
        own_iterator = iter(own)
        full = [next(own_iterator) if yes else f for f, yes in zip(fill, is_array, strict=True)]
        y = treedef.unflatten(full)(x, key=jax.random.PRNGKey(7))
        return jnp.sum(jnp.abs(jnp.sin(y))).astype(jnp.float32)

    if jnp.issubdtype(jnp.asarray(x).dtype, jnp.inexact) and differentiate:
        try:
            found["gradients"] = jax.grad(loss, argnums=(0, 1))(found["arrays"], jnp.asarray(x))
        except Exception as error:
            found["gradients"] = type(error).__name__
    return found


def checkpoint_of(layer: Any) -> Any:
    """What is saved of a subject: the layer, and with it a state."""
    return (layer.layer, layer.more) if isinstance(layer, Bound) else layer


def read(eqx: Any, build: Build, x: Any, file: Path) -> bool | str:
    """Whether a checkpoint of the other side gives the outputs that this side has by itself."""
    layer, blank = build(eqx.nn), build(eqx.nn)
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros_like(leaf) if isinstance(leaf, jax.Array) else leaf,
        checkpoint_of(blank),
    )
    try:
        loaded = eqx.tree_deserialise_leaves(file, zeros)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if isinstance(blank, Bound):
        blank.layer, blank.more = loaded
    else:
        blank = loaded
    y, again = (m(jnp.asarray(x), key=jax.random.PRNGKey(7)) for m in (layer, blank))
    return np.array_equal(np.asarray(y), np.asarray(again), equal_nan=True)


def write(side: str, folder: Path, only: str) -> None:
    """Examines all subjects, saves one of each kind, and reads what the other side saved."""
    eqx = importlib.import_module("equinoctial" if side == "ours" else "equinox")
    warnings.simplefilter("ignore")
    other = "peer" if side == "ours" else "ours"
    read_only = (folder / f"{side}.pickle").exists()  # the second time: the other has saved since
    found: dict[str, Any] = {}
    kinds: set[str] = set()
    for i, (name, build, x) in enumerate(all_subjects(only)):
        first = kind_of(name) not in kinds and not name.startswith("error")
        kinds.add(kind_of(name))
        if not read_only:
            # Compiling gradients takes most of the time: every other subject has one.
            found[name] = examine(build, x, eqx.nn, eqx.tree_pformat, first or i % 2 == 0)
            if first and found[name]["outcome"] == "ok":
                layer = checkpoint_of(build(eqx.nn))
                eqx.tree_serialise_leaves(folder / f"{side}-{kind_of(name)}.eqx", layer)
        saved = folder / f"{other}-{kind_of(name)}.eqx"
        if first and saved.exists():
            found.setdefault(name, {})["checkpoint"] = read(eqx, build, x, saved)
    as_numpy = jax.tree.map(lambda v: np.asarray(v) if isinstance(v, jax.Array) else v, found)
    file = folder / (f"{side}-read.pickle" if read_only else f"{side}.pickle")
    file.write_bytes(pickle.dumps(as_numpy))


def same(ours: Any, peers: Any, tolerance: float) -> bool:
    a, b = jax.tree.flatten(ours), jax.tree.flatten(peers)
    if a[1] != b[1]:
        return False
    for x, y in zip(a[0], b[0], strict=True):
        if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
            if x.dtype != y.dtype or x.shape != y.shape:
                return False
            wide = np.complex128 if np.iscomplexobj(x) else np.float64
            near = tolerance * (float(jnp.finfo(x.dtype).eps) if tolerance else 0)
            if not np.allclose(x.astype(wide), y.astype(wide), near, near, equal_nan=True):
                return False
        elif x != y:
            return False
    return True


# In units of the dtype's precision; 0 is bit for bit.
TOLERANCES = {"output": 0, "gradients": 16}


def compare(ours: dict[str, Any], peers: dict[str, Any], verbose: bool) -> int:
    differing, known = 0, 0
    for name in ours:
        for key in ours[name].keys() | peers[name].keys():
            mine, theirs = ours[name].get(key), peers[name].get(key)
            if key == "checkpoint":  # read by either: each says whether all was as it should be
                mine, theirs = (mine, theirs), (True, True)
            if same(mine, theirs, TOLERANCES.get(key, 0)):
                continue
            if ours[name]["outcome"] != peers[name]["outcome"] and key != "outcome":
                continue
            reason = next(
                (why for (start, k), why in KNOWN.items() if name.startswith(start) and k == key),
                None,
            )
            known += reason is not None
            differing += reason is None
            if reason is None or verbose:
                print(f"{name}: {key} differs{f' ({reason})' if reason else ''}")
                print(f"  ours: {str(mine)[:400]}\n  peer: {str(theirs)[:400]}")
    print(f"{len(ours)} subjects: {differing} unexpected differences, {known} known ones")
    return differing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--verbose", action="store_true", help="print the known differences too")
    parser.add_argument("--write", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument(
        "--only", default="", help="subjects whose name has this regular expression"
    )
    options = parser.parse_args()
    if options.write:
        write(options.write[0], Path(options.write[1]), options.only)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in ("peer", "ours", "peer"):  # the second time to read what ours has saved
            command = [sys.executable, __file__, "--only", options.only, "--write", side, name]
            subprocess.run(command, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
        results = {file.stem: pickle.loads(file.read_bytes()) for file in folder.glob("*.pickle")}
    for subject, own in results.pop("peer-read").items():
        results["peer"][subject] |= own
    read = [own["checkpoint"] for own in results["ours"].values() if "checkpoint" in own]
    print(f"{len(read)} checkpoints of each side read by the other")
    return 1 if compare(results["ours"], results["peer"], options.verbose) else 0


if __name__ == "__main__":
    sys.exit(main())
