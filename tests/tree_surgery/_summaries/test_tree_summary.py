"""`tree_summary`: its numbers against a count by hand, in all formats."""

import dataclasses as dc
from html.parser import HTMLParser
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest

from tree_surgery import freeze, tie, tree_size, tree_summary


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any


def model():
    layers = [
        Linear(jnp.ones((20, 30)), jnp.ones(20, jnp.bfloat16)),
        Linear(jnp.ones((1, 20)), None),
    ]
    return {"layers": layers, "steps": jnp.array(0), "table": np.ones(3), "act": jax.nn.relu}


TEXT = """\
path                      type     shape     dtype     parameters    bytes  sharding  trainable
-----------------------------------------------------------------------------------------------
['layers']                list                                640  2.52 kB  cpu:0     yes
['layers'][0]             Linear                              620  2.44 kB  cpu:0     yes
['layers'][0].weight      Array    (20, 30)  float32          600   2.4 kB  cpu:0     yes
['layers'][0].bias        Array    (20,)     bfloat16          20     40 B  cpu:0     yes
['layers'][1]             Linear                               20     80 B  cpu:0     yes
['layers'][1].weight      Array    (1, 20)   float32           20     80 B  cpu:0     yes
['steps']                 Array    ()        int32              0      4 B  cpu:0     no
['table']                 ndarray  (3,)      float64            3     24 B  host      yes
-----------------------------------------------------------------------------------------------
total                     dict                                643  2.55 kB  mixed     yes"""


def test_text():
    lines = [" ".join(line.split()) for line in tree_summary(model()).splitlines()]
    expected = [" ".join(line.split()) for line in TEXT.splitlines()]
    rule = lines[1]
    assert set(rule) == {"-"} and lines[-2] == rule
    assert [x for x in lines if x != rule] == [x for x in expected if set(x) != {"-"}]


def test_text_is_aligned():
    head, rule, *rows = tree_summary(model()).splitlines()
    for name in ("type", "shape", "dtype", "sharding", "trainable"):
        start = head.index(name)
        assert all(row[start - 2 : start].strip() in ("", "--") for row in rows)
    for name in ("parameters", "bytes"):
        end = head.index(name) + len(name)
        assert all(row[end - 1] != " " and row[end : end + 1] in (" ", "-") for row in rows)
    assert len(rule) == max(map(len, [head, *rows]))


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def cells(tree, depth=None):
    """The rows of a summary, read from its HTML."""
    parser = Cells()
    parser.feed(tree_summary(tree, depth, format="html"))
    assert parser.open == []
    header, *rows = parser.rows
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def test_html():
    tree = {"<b>&'": jnp.ones(2)}
    found = cells(tree)
    assert list(found) == ['["<b>&\'"]', "total"]
    assert "<b>" not in tree_summary(tree, format="html")
    by_path = cells(model())
    assert by_path["['layers'][0].weight"]["shape"] == "(20, 30)"
    assert by_path["total"]["bytes"] == "2.55 kB"


def test_markdown_has_the_same_cells():
    tree = {"a|b": jnp.ones(2), **model()}
    lines = tree_summary(tree, format="markdown").splitlines()
    assert lines[1].split() == ["|"] + ["---", "|"] * 4 + ["---:", "|"] * 2 + ["---", "|"] * 2
    rows = [
        [
            cell.strip(" `").replace("\\|", "|")
            for cell in line.replace("\\|", "\0").split("|")[1:-1]
        ]
        for line in lines[2:]
    ]
    rows = [[cell.replace("\0", "|") for cell in row] for row in rows]
    assert rows == [list(row.values()) for row in cells(tree).values()]


def test_depth():
    assert list(cells(model(), 0)) == ["total"]
    assert list(cells(model(), 1)) == ["['layers']", "['steps']", "['table']", "total"]
    assert list(cells(model(), 2))[1:3] == ["['layers'][0]", "['layers'][1]"]
    assert cells(model(), 9) == cells(model())
    for depth in range(4):
        assert cells(model(), depth)["total"] == cells(model())["total"]


def test_totals_are_those_of_tree_size():
    tree = model()
    found = cells(tree)
    for path, part in (("['layers'][0]", tree["layers"][0]), ("['layers']", tree["layers"])):
        assert found[path]["parameters"] == str(tree_size(part).parameters)
    shared = jnp.ones(5)
    assert cells([shared, [shared]])["total"]["parameters"] == "5"
    assert cells([jnp.ones((1000, 1234))])["[0]"]["parameters"] == "1,234,000"


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((999,), "999 B"),
        ((1000,), "1 kB"),
        ((9996, 1000), "10 MB"),
        ((999_499,), "999 kB"),
        ((999_500,), "1 MB"),
        ((10**6, 1234), "1.23 GB"),
        ((10**9, 12345), "12.3 TB"),
    ],
)
def test_bytes(shape, text):
    assert cells([jax.ShapeDtypeStruct(shape, jnp.int8)])["[0]"]["bytes"] == text


def test_frozen_and_tied():
    tree = freeze(model(), "layers[0].weight")
    found = cells(tree)
    trainable = {path: row["trainable"] for path, row in found.items()}
    assert trainable["['layers'][0].weight"] == "no" and trainable["['layers'][0].bias"] == "yes"
    assert trainable["['layers'][0]"] == trainable["['layers']"] == trainable["total"] == "part"
    assert found["['layers'][0].weight"]["type"] == "Array"
    assert cells(freeze(model(), ""))["total"]["trainable"] == "no"
    tied = cells(tie([jnp.ones(3), jnp.ones(3)], [("[1]", "[0]")]))
    assert tied["[1]"]["type"] == "tied to [0]" and tied["total"]["parameters"] == "3"


def test_sharding():
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    named, spec = jax.sharding.NamedSharding, jax.sharding.PartitionSpec
    tree = {
        "split": jax.device_put(jnp.ones((4, 3)), named(mesh, spec("x", None))),
        "copied": jax.device_put(jnp.ones(5), named(mesh, spec())),
        "two": jax.device_put(jnp.ones(5), jax.devices()[1]),
        "struct": jax.ShapeDtypeStruct((4,), jnp.float32),
    }
    found = {path: row["sharding"] for path, row in cells(tree).items()}
    assert found == {
        "['copied']": "P() on 2",
        "['split']": "P('x', None) on 2",
        "['struct']": "",
        "['two']": "cpu:1",
        "total": "mixed",
    }


def test_of_shapes_and_under_jit():
    shapes = jax.eval_shape(lambda: {"w": jnp.ones((1000, 1000, 1000))})
    assert cells(shapes)["total"]["bytes"] == "4 GB"
    texts = []
    jax.jit(lambda tree: texts.append(cells(tree)["['w']"]))({"w": jnp.ones(3)})
    assert texts[0]["parameters"] == "3" and texts[0]["sharding"] == ""


def test_one_array_and_none():
    assert list(cells(jnp.ones(3))) == ["total"] and cells(jnp.ones(3))["total"]["shape"] == "(3,)"
    assert cells([1, "x", None])["total"]["parameters"] == "0"


def test_wrong_use():
    with pytest.raises(ValueError, match="one of .*'text', 'markdown', 'html'.*, not 'latex'"):
        tree_summary([1], format="latex")
    with pytest.raises(ValueError, match="0 or more, not -1"):
        tree_summary([1], -1)
