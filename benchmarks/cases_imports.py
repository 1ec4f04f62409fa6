"""Imports, each in a process of its own that has imported JAX, beside Equinox's."""

from case import Absolute

LIMITS = {  # the ratio to `import equinox`, at most
    "tree_surgery": 0.11,
    "pytree_module": 0.14,
    "filtered_transforms": 0.32,
    "runtime_checks": 0.6,
    "nn_layers": 0.46,
    "equinoctial": 0.6,
}
TYPICAL = "eqx.Module, eqx.filter_jit, eqx.nn.Linear"


def _row(name: str, statement: str, peer: str, limit: float | None = None) -> Absolute:
    return Absolute(name, statement, "import jax, jax.numpy", peer_statement=peer, limit=limit)


def cases() -> list[Absolute]:
    found = [
        _row(f"import {name}", f"import {name}", "import equinox", limit)
        for name, limit in LIMITS.items()
    ]
    found.append(
        _row(
            f"import, and {TYPICAL}",
            f"import equinoctial as eqx; {TYPICAL}",
            f"import equinox as eqx; {TYPICAL}",
            0.6,
        )
    )
    # All names are loaded: what a program pays that uses everything.
    found += [
        _row(f"from {name} import *", f"from {name} import *", "import equinox") for name in LIMITS
    ]
    return found
