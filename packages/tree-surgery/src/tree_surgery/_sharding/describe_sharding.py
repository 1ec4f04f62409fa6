"""`describe_sharding`: which device holds what of a tree, as a table and as a picture."""

import math
from typing import Any, Literal, NamedTuple

import jax.tree_util as jtu
from jax.sharding import NamedSharding

from tree_surgery._nodes.arrays import bytes_of, is_array_or_struct, sharding_of
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._public import public
from tree_surgery._summaries.table import to_html, to_markdown, to_text

from .device_picture import device_picture

HEADER = ("path", "shape", "dtype", "spec", "bytes", "per device", "copies")
RIGHT = frozenset({"bytes", "per device", "copies"})


class _Row(NamedTuple):
    """A line of the table: an array of the tree. `copies`: how many devices hold each number."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    spec: str
    bytes: int
    per_device: int
    copies: float


@public
def describe_sharding(
    tree: object, format: Literal["text", "markdown", "html", "svg"] = "text"
) -> str:
    """A table of how each array of a tree lies over devices, with totals.

    **Arguments:**

    - `tree`: a PyTree of arrays, of `jax.ShapeDtypeStruct`s with shardings, or of shardings beside
        shapes. Non-array leaves have no row.
    - `format`: `"text"`, `"markdown"`, `"html"`; or `"svg"`, a picture with a row for each array,
        in which each part of the array has the colour of the device that holds it.

    **Returns:**

    A string. `spec` says over which axes of the mesh each dimension is split. `bytes` are those of
    the whole array, `per device` those of the largest part that one device holds, `copies` how many
    devices hold the same element. Tables end with the totals.

    **Raises:** `ValueError` for another `format`.

    ```python
    import jax
    import jax.numpy as jnp
    from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec as P
    from tree_surgery import describe_sharding

    split = NamedSharding(AbstractMesh((4, 2), ("data", "model")), P("data"))
    print(describe_sharding({"w": jax.ShapeDtypeStruct((8, 6), jnp.float32, sharding=split)}))
    # path   shape   dtype    spec       bytes  per device  copies
    # ------------------------------------------------------------
    # ['w']  (8, 6)  float32  P('data')    192          48       2
    # ------------------------------------------------------------
    # total                                192          48
    ```
    """
    if format == "svg":
        return device_picture(tree)
    formats = {"text": to_text, "markdown": to_markdown, "html": to_html}
    if format not in formats:
        raise ValueError(
            f"The format of `describe_sharding` is one of {[*formats, 'svg']}, not {format!r}."
        )
    rows = [
        _row(path_str(path), x)
        for path, x in jtu.tree_leaves_with_path(tree)
        if is_array_or_struct(x)
    ]
    whole, part = sum(row.bytes for row in rows), sum(row.per_device for row in rows)
    total = ("total", "", "", "", f"{whole:,}", f"{part:,}", "")
    return formats[format](HEADER, [_as_text(row) for row in rows], total, RIGHT)


def _row(path: str, x: Any) -> _Row:
    sharding, size = sharding_of(x), bytes_of(x)
    shape = tuple(x.shape)
    if sharding is None:
        return _Row(path, shape, str(x.dtype), "", size, size, 1)
    part = math.prod(sharding.shard_shape(shape)) * int(x.dtype.itemsize)
    copies = part * _devices(sharding) / size if size else 1
    return _Row(path, shape, str(x.dtype), _spec(sharding), size, part, copies)


def _devices(sharding: Any) -> int:
    if isinstance(sharding, NamedSharding):
        return math.prod(sharding.mesh.shape.values())
    return len(sharding.device_set)


def _spec(sharding: Any) -> str:
    if isinstance(sharding, NamedSharding):
        return f"P({', '.join(map(repr, sharding.spec))})"
    if len(sharding.device_set) == 1:
        (device,) = sharding.device_set
        return f"{device.platform}:{device.id}"
    return type(sharding).__name__


def _as_text(row: _Row) -> tuple[str, ...]:
    return (
        row.path,
        str(row.shape),
        row.dtype,
        row.spec,
        f"{row.bytes:,}",
        f"{row.per_device:,}",
        f"{row.copies:g}",
    )
