"""`announce_transform`: says what JAX does to a value, when it does it."""

from collections.abc import Callable
from typing import Any

import jax.tree_util as jtu

from filtered_transforms import is_array
from runtime_checks._jax import identity_primitive
from runtime_checks._types import T
from tree_surgery.extend import public

# What ends a chain of transformations: nothing further happens to the value.
_ENDS = ("impl", "abstract", "mlir")

# Primal and tangent go different ways from here on; the step itself is announced once, for both.
_ONE_STEP = {"jvp_p": "jvp"}


def _on_event(event: str, params: dict[str, Any]) -> dict[str, Any]:
    said = (*params["stack"], _ONE_STEP.get(event, event))
    params = {**params, "stack": (*params["stack"], event)}
    if event in _ENDS or (params["intermediates"] and event != "jvp_t"):
        name = params["name"]
        prefix = "" if name is None else f"({name}) "
        params["announce"](prefix + ":".join(said))
    return params


announce_jaxpr_p: Any = identity_primitive("announce_jaxpr", _on_event)
announce_jaxpr_p.__doc__ = "The primitive of `announce_transform`: the identity on arrays."


@public
def announce_transform(
    x: T,
    name: str | None = None,
    intermediates: bool = False,
    announce: Callable[[str], Any] = print,
) -> T:
    """Returns `x`, and announces each JAX transformation that is applied to it.

    What is announced are the transformations from the innermost to the outermost, with colons
    between them: `vmap`, `jvp_p` and `jvp_t` (of the primal and of the tangent), `transpose`; at
    the end `impl` (evaluated at once), `abstract` (traced) or `mlir` (compiled).

    **Arguments:**

    - `x`: any PyTree.
    - `name`: said in front, to tell several apart.
    - `intermediates`: whether to announce every single step, not only chains that are complete.
    - `announce`: called with each text.

    **Returns:** `x`.

    ```python
    import jax
    import jax.numpy as jnp
    from runtime_checks.debug import announce_transform

    said = []
    jax.jit(jax.vmap(lambda x: announce_transform(x, announce=said.append)))(jnp.ones(2))
    assert said == ["vmap:abstract", "vmap:mlir"]
    ```
    """
    leaves, treedef = jtu.tree_flatten(x)
    where = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
    if not where:
        return x
    params = {"stack": (), "name": name, "intermediates": intermediates, "announce": announce}
    for i, leaf in zip(
        where, announce_jaxpr_p.bind(*[leaves[i] for i in where], **params), strict=True
    ):
        leaves[i] = leaf
    return treedef.unflatten(leaves)
