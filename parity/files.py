"""Files between Equinox 0.13.8 and us: what either writes the other reads, and it is the same.

Part of `run.py`. Prints one line a case; exits with 1 if one is not as expected.
"""

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from model import build

import nn_layers
import pytree_module
import tree_surgery

DTYPES = [
    *("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32"),
    *("float16", "float32", "bfloat16", "complex64"),
]
SHAPES = [(), (1,), (1, 1), (3,), (2, 3), (0,), (0, 3)]


def arrays(kind: Callable[..., Any]) -> dict[str, Any]:
    return {
        f"{dtype}{shape}": kind(np.random.default_rng(0).integers(0, 2, shape), jnp.dtype(dtype))
        for dtype in DTYPES
        for shape in SHAPES
    }


def norm(library: Any) -> Any:
    return library.make_with_state(library.BatchNorm)(3, axis_name="batch", mode="batch")


# Each a pair: the tree as Equinox's classes make it, and as ours do.
CASES: dict[str, tuple[Any, Any]] = {
    "arrays of JAX": (arrays(jnp.asarray),) * 2,
    # (Equinox cannot load a bfloat16 array of NumPy that it has saved itself.)
    "arrays of NumPy": ({k: x for k, x in arrays(np.asarray).items() if "bf" not in k},) * 2,
    "NumPy's scalars": ([np.float32(1.5), np.int8(3), np.bool_(True), np.float64(0.1)],) * 2,
    "Python's numbers": ([True, 3, -(2**62), 0.1, 1 + 2j, float("inf")],) * 2,
    "other leaves": ([jnp.sin, "text", None, 3],) * 2,
    "Fortran's order": ([np.asfortranarray(np.arange(6.0).reshape(2, 3))],) * 2,
    "the model of 12 blocks": (build(equinox), build(pytree_module)),
    "MLP": (
        equinox.nn.MLP(3, 2, 8, 2, key=jax.random.key(0)),
        nn_layers.MLP(3, 2, 8, 2, key=jax.random.key(0)),
    ),
    "BatchNorm and its state": (
        norm(type("nn", (), {k: getattr(equinox.nn, k) for k in ("BatchNorm", "make_with_state")})),
        norm(nn_layers),
    ),
}


def emptied(tree: Any) -> Any:
    """The same structure, and other values."""

    def empty(x: Any) -> Any:
        if isinstance(x, jax.Array):
            return jnp.zeros_like(x)
        if isinstance(x, np.ndarray):
            return np.zeros_like(x)
        return type(x)(0) if isinstance(x, np.generic | bool | int | float | complex) else x

    return jax.tree.map(empty, tree)


def written(library: Any, tree: Any) -> bytes:
    file = io.BytesIO()
    library.tree_serialise_leaves(file, tree)
    return file.getvalue()


def same(a: Any, b: Any) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(
        (callable(x) and callable(y))
        or x is y
        or (
            type(x) is type(y)
            and getattr(x, "dtype", None) == getattr(y, "dtype", None)
            and np.shape(x) == np.shape(y)
            and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        )
        for x, y in pairs
    )


def check(name: str, theirs: Any, ours: Any) -> bool:
    by_them, by_us = written(equinox, theirs), written(tree_surgery, ours)
    read_by_us = tree_surgery.tree_deserialise_leaves(io.BytesIO(by_them), emptied(ours))
    read_by_them = equinox.tree_deserialise_leaves(io.BytesIO(by_us), emptied(theirs))
    results = {
        "theirs is read by us": same(read_by_us, theirs),
        "ours is read by them": same(read_by_them, ours),
        "same bytes": by_them == by_us,
    }
    print(f"{name:24} {len(by_us):8} bytes  {results}")
    return all(results.values())


def paths() -> bool:
    """By path, with and without a suffix: the same file names."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        equinox.tree_serialise_leaves(folder / "theirs", [jnp.ones(3)])
        tree_surgery.tree_serialise_leaves(folder / "ours", [jnp.ones(3)])
        found = sorted(file.name for file in folder.iterdir())
        a = tree_surgery.tree_deserialise_leaves(folder / "theirs", [jnp.zeros(3)])
        b = equinox.tree_deserialise_leaves(folder / "ours", [jnp.zeros(3)])
    print(f"paths: {found}")
    return found == ["ours.eqx", "theirs.eqx"] and same(a, b)


def main() -> int:
    well = [check(name, *pair) for name, pair in CASES.items()]
    return 0 if all([*well, paths()]) else 1


if __name__ == "__main__":
    sys.exit(main())
