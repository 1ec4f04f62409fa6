"""Compare our layers with Equinox's, number by number.

Each side builds every layer of a grid of options from the same key, in a process of its own, and
writes down: the parameters with their key paths, the static fields, the printed tree, the outputs,
the gradients with respect to parameters and input; or the type of the error. Then the two are
compared: exactly, but for gradients, which may differ in the last bits. Of each kind of layer and
each dtype, each side also saves a checkpoint, loads that of the other, and has to compute its own
outputs from it. What is meant to differ is listed in `known.toml`. Part of `run.py`.
"""

import importlib
import os
import pickle
import re
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import layer_subjects
import layer_subjects_bound
import numpy as np
from compare import Known, reason
from layer_subjects import Build, Subject
from layer_subjects_bound import Bound


def all_subjects(only: str) -> Iterator[Subject]:
    """Those whose name has this regular expression."""
    for module, names in (
        (layer_subjects, "linears convs pools others norms transposes adaptives errors"),
        (layer_subjects_bound, "units stateful attentions wrappers"),
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
    for name, build, x in all_subjects(only):
        first = kind_of(name) not in kinds and not name.startswith("error")
        kinds.add(kind_of(name))
        if not read_only:
            # Compiling gradients takes most of the time: every other has one, whatever runs beside.
            chosen = first or zlib.crc32(name.encode()) % 2 == 1
            found[name] = examine(build, x, eqx.nn, eqx.tree_pformat, chosen)
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
            rounded = tolerance and jnp.issubdtype(x.dtype, jnp.inexact)
            near = tolerance * float(jnp.finfo(x.dtype).eps) if rounded else 0
            if not np.allclose(x.astype(wide), y.astype(wide), near, near, equal_nan=True):
                return False
        elif x != y:
            return False
    return True


# In units of the dtype's precision; all else is compared bit for bit. Of two programs that compute
# the same sum, one processor rounds both alike, and another does not.
TOLERANCES = {"output": 8, "gradients": 16}


def compare(ours: dict[str, Any], peers: dict[str, Any], known: list[Known], verbose: bool) -> int:
    differing, listed = 0, 0
    for name in ours:
        for key in ours[name].keys() | peers[name].keys():
            mine, theirs = ours[name].get(key), peers[name].get(key)
            if key == "checkpoint":  # read by either: each says whether all was as it should be
                mine, theirs = (mine, theirs), (True, True)
            if same(mine, theirs, TOLERANCES.get(key, 0)):
                continue
            if ours[name]["outcome"] != peers[name]["outcome"] and key != "outcome":
                continue
            entry = reason(known, f"grid {name}", key)
            listed += entry is not None
            differing += entry is None
            if entry is None or verbose:
                print(f"grid {name}: {key} differs{f' ({entry.why})' if entry else ''}")
                print(f"  ours: {str(mine)[:400]}\n  peer: {str(theirs)[:400]}")
    print(
        f"{len(ours)} layers of the grid: {differing} unexpected differences, {listed} known ones"
    )
    return differing


def run(folder: Path, only: str, known: list[Known], verbose: bool) -> int:
    """Examines all subjects whose name matches, and returns the number of faults."""
    for side in ("peer", "ours", "peer"):  # the second time to read what ours has saved
        command = [sys.executable, __file__, side, str(folder), only]
        subprocess.run(command, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    results = {file.stem: pickle.loads(file.read_bytes()) for file in folder.glob("*.pickle")}
    for subject, own in results.pop("peer-read").items():
        results["peer"][subject] |= own
    read = [own["checkpoint"] for own in results["ours"].values() if "checkpoint" in own]
    print(f"{len(read)} checkpoints of each side read by the other")
    return compare(results["ours"], results["peer"], known, verbose)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
