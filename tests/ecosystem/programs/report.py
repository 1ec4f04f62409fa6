"""What a program hands to the test that runs it: named numbers, warnings, whose `equinox` it was.

A program is a script that knows nothing of us: it imports its libraries, does their main job under
`with report() as numbers:` and fills that dictionary, whose values may be any PyTrees of numbers.
"""

import contextlib
import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import equinox
import jax
import numpy as np


def _flat(tree: Any) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


@contextlib.contextmanager
def report() -> Iterator[dict[str, Any]]:
    """The dictionary to fill. What it holds at the end is written to the path of `sys.argv[1]`."""
    numbers: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as caught:
        yield numbers
    proof = {
        "module": equinox.Module.__module__,
        "name": equinox.__name__,
        "version": equinox.__version__,
        "warnings": sorted({f"{w.category.__name__}: {w.message}" for w in caught}),
    }
    np.savez(sys.argv[1], proof=json.dumps(proof), **_flat(numbers))
