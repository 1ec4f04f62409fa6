"""What is known of a leaf before it is read, and the report of what did not fit a tree.

`SerialiseError` carries a report, and all folders raise that error. So this file may import no
folder of the distribution.
"""

from typing import NamedTuple

from ._public import public


@public
class LeafInfo(NamedTuple):
    """What is known of a saved leaf before it is read. See [`tree_surgery.peek`][].

    - `dtype`: the dtype of an array, as a string; of a number of Python's, `Python int` and so on.
    - `shape`: the shape of an array; `None` for anything else.

    ```python
    from tree_surgery import LeafInfo

    assert str(LeafInfo("float32", (3, 4))) == "shape (3, 4) and dtype float32"
    ```
    """

    dtype: str
    shape: tuple[int, ...] | None = None

    def __str__(self) -> str:
        if self.shape is None:
            return self.dtype
        return f"shape {self.shape} and dtype {self.dtype}"


@public
class Mismatch(NamedTuple):
    """A leaf that is in the file and in the tree, and not the same kind of thing.

    - `path`: what it is called.
    - `expected`, `found`: what `like` has there and what the file has, a
        [`tree_surgery.LeafInfo`][] each.

    ```python
    from tree_surgery import LeafInfo, Mismatch

    one = Mismatch("w", expected=LeafInfo("float32", (3,)), found=LeafInfo("float32", (4,)))
    assert one.found.shape == (4,)
    ```
    """

    path: str
    expected: LeafInfo
    found: LeafInfo


@public
class LoadReport(NamedTuple):
    """What did not fit when a tree was loaded: true if there was anything, readable when printed.

    - `missing`: the paths that the tree has and the file has not.
    - `unexpected`: the paths that the file has and the tree has not.
    - `mismatched`: a list of [`tree_surgery.Mismatch`][]: other shapes, dtypes or kinds of leaves.

    ```python
    import jax.numpy as jnp
    from tree_surgery import LoadReport, from_state_dict

    like = {"w": jnp.zeros(3), "b": jnp.zeros(2)}
    tree, report = from_state_dict({"w": jnp.ones(3), "c": jnp.ones(1)}, like, strict=False)
    assert report == LoadReport(missing=["b"], unexpected=["c"], mismatched=[])
    assert tree["w"].tolist() == [1.0, 1.0, 1.0] and tree["b"] is like["b"]
    ```
    """

    missing: list[str]
    unexpected: list[str]
    mismatched: list[Mismatch]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        if not self:
            return "Everything fits."
        lines = [
            f"{len(self.missing)} missing, {len(self.unexpected)} unexpected, "
            f"{len(self.mismatched)} mismatched:"
        ]
        lines += [f"- {path}: missing" for path in self.missing]
        lines += [f"+ {path}: unexpected" for path in self.unexpected]
        lines += [f"~ {x.path}: expected {x.expected}, found {x.found}" for x in self.mismatched]
        return "\n".join(lines)
