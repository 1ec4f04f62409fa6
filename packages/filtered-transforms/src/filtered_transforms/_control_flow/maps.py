"""`filter_map`, `filter_associative_scan`: loops without a carry."""

from collections.abc import Callable
from typing import Any

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.static_nodes import check_callable, hold, release
from filtered_transforms._filters.structure_errors import hold_like
from filtered_transforms._types import R, T
from tree_surgery.extend import public

from .body_cache import BodyCache


def _make_map(get: Callable[[], Any]) -> Callable[..., Any]:
    def body(_: None, x: Any) -> tuple[None, Any]:
        return None, hold(get()(release(x)))

    return body


_MAP = BodyCache(_make_map)


@public
def filter_map(f: Callable[[T], R], xs: T, *, batch_size: int | None = None) -> R:
    """`jax.lax.map` with any PyTrees: a function applied to one slice of arrays after the other.

    On trees of arrays it is `jax.lax.map`.

    **Arguments:**

    - `f`: a function of one argument, any callable.
    - `xs`: a tree whose arrays are mapped over, along their first axis. Each step gets
        the non-array leaves as they are.
    - `batch_size`: how many slices to compute at once, by `jax.vmap`.

    **Returns:** the results, with their arrays stacked. Non-array leaves are returned once.

    **Raises:** `ValueError` if `xs` contains no array, or for a `batch_size` below 1.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_map

    out, name = filter_map(lambda x: (x[0].sum(), x[1]), (jnp.ones((3, 2)), "sum"))
    assert out.tolist() == [2.0, 2.0, 2.0] and name == "sum"
    ```
    """
    check_callable("filter_map", f)
    held = hold(xs)
    _check_arrays("filter_map", "xs", held, xs)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`filter_map`: `batch_size` must be at least 1, got {batch_size}.")
    if batch_size is None:
        # What `jax.lax.map` is, but for the function, which is the same in every call: so that it
        # is not compiled anew in each.
        return release(jax.lax.scan(_MAP.of(f), None, held)[1])
    return release(jax.lax.map(lambda x: hold(f(release(x))), held, batch_size=batch_size))


@public
def filter_associative_scan(
    fn: Callable[[T, T], T], elems: T, reverse: bool = False, axis: int = 0
) -> T:
    """`jax.lax.associative_scan` with any PyTrees: all partial results of an associative function.

    On trees of arrays it is `jax.lax.associative_scan`.

    **Arguments:**

    - `fn`: an associative function of two trees like `elems`, which hold several elements each.
    - `elems`: a tree whose arrays hold the elements along `axis`. `fn` gets the non-array
        leaves in both arguments, and must return them unchanged.
    - `reverse`, `axis`: as for `jax.lax.associative_scan`.

    **Returns:** a tree like `elems`.

    **Raises:** `ValueError` if `elems` contains no array; `TypeError` if `fn` changes the
    structure or a non-array leaf, with the path and both values.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_associative_scan

    def add(a, b):
        return a | {"x": a["x"] + b["x"]}

    out = filter_associative_scan(add, {"x": jnp.arange(4), "name": "sum"})
    assert out["x"].tolist() == [0, 1, 3, 6] and out["name"] == "sum"
    ```
    """
    check_callable("filter_associative_scan", fn)
    held = hold(elems)
    _check_arrays("filter_associative_scan", "elems", held, elems)

    def combine(x: Any, y: Any) -> Any:
        first = release(x)
        out = fn(first, release(y))
        return hold_like(first, out, "filter_associative_scan", "an element")

    return release(jax.lax.associative_scan(combine, held, reverse=reverse, axis=axis))


def _check_arrays(name: str, what: str, held: Any, tree: Any) -> None:
    if not jtu.tree_leaves(held):
        raise ValueError(
            f"`{name}` found no array in `{what}`, so that there is nothing to say how often to "
            f"call the function: {tree!r}. Python numbers and lists of them are static; make them "
            f"arrays with `jnp.asarray`."
        )
