"""`describe_sharding`: its numbers against what JAX says of the same arrays."""

import re
import xml.etree.ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tree_surgery import describe_sharding, fsdp, tree_shardings


def tree():
    """Split, copied, on one device, on the host, and a non-array leaf."""
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    return {
        "split": jax.device_put(np.ones((8, 6), "f4"), NamedSharding(mesh, P(None, "data"))),
        "copied": jax.device_put(np.ones(5, "f2"), NamedSharding(mesh, P())),
        "single": jnp.ones((3, 4)),
        "host": np.ones(7),
        "name": "text",
    }


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_bytes_and_copies_are_those_of_jax():
    arrays = tree()
    lines = describe_sharding(arrays, format="markdown").splitlines()
    rows = {cells(line)[0]: cells(line) for line in lines[2:]}
    for name in ("split", "copied", "single"):
        x = arrays[name]
        _, shape, dtype, _, whole, part, copies = rows[f"`['{name}']`"]
        shards = x.addressable_shards
        assert (shape, dtype) == (str(x.shape), str(x.dtype))
        assert int(whole) == x.nbytes and int(part) == max(s.data.nbytes for s in shards)
        assert float(copies) == sum(s.data.nbytes for s in shards) / x.nbytes
    assert rows["`['host']`"][3:] == ["", "56", "56", "1"]
    assert "`['name']`" not in rows
    total = [sum(int(rows[r][i]) for r in rows if r.startswith("`")) for i in (4, 5)]
    assert [int(n) for n in rows["total"][4:6]] == total


def test_a_model_that_is_not_there_on_devices_that_are_not_there():
    mesh = AbstractMesh((256,), ("data",))
    shapes = {"w": jax.ShapeDtypeStruct((1 << 20, 1 << 14), jnp.bfloat16)}
    shardings = tree_shardings(shapes, fsdp("data"), mesh)
    planned = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )
    text = describe_sharding(planned)
    assert "P('data')" in text and f"{1 << 35:,}" in text and f"{1 << 27:,}" in text


def test_the_picture_names_the_devices_that_jax_names():
    arrays = tree()
    picture = describe_sharding(arrays, format="svg")
    root = xml.etree.ElementTree.fromstring(picture)
    texts = [t.text or "" for t in root.iter("{http://www.w3.org/2000/svg}text")]
    first, second = (d.id for d in arrays["split"].sharding.mesh.devices.flat)
    at = texts.index("['split']")
    assert texts[at + 2 : at + 4] == [str(first), str(second)]
    at = texts.index("['copied']")
    assert texts[at + 2] == f"{first}, {second}"
    assert "text" not in "".join(texts).replace("context", "")


def test_html_is_escaped_and_other_formats_are_refused():
    assert "<script>" not in describe_sharding({"<script>": jnp.ones(2)}, format="html")
    assert "<script>" not in describe_sharding({"<script>": jnp.ones(2)}, format="svg")
    with pytest.raises(ValueError, match=re.escape("'text', 'markdown', 'html', 'svg'")):
        describe_sharding({}, format="pdf")  # pyright: ignore[reportArgumentType]
