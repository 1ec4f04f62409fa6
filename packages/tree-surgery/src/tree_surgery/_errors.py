"""The errors of this distribution, which carry what they speak about as attributes."""

from typing import Any

from ._load_report import LoadReport
from ._public import public


@public
class WhereError(ValueError, TypeError):
    """`tree_at` could not tell from `where` which nodes are meant, or what should replace them.

    It is a `ValueError`, and a `TypeError` too: both are what code that selects nodes by a
    function is used to catch.

    - `selected`: the object that `where` returned and that the message is about, if there is one.
    """

    selected: Any

    def __init__(self, message: str, selected: object = None):
        super().__init__(message)
        self.selected = selected


@public
class SerialiseError(RuntimeError):
    """A tree could not be written to a file, or read from one.

    - `path`: the path of the leaf that this is about, if it is about one: as
        `tree_surgery.path_str` writes it, or dotted in files that have names.
    - `expected`, `found`: for a leaf that does not fit, what `like` asks for and what the file
        holds, in words.
    - `report`: a `tree_surgery.LoadReport` of all that does not fit, from files that have names.
    """

    path: str | None
    expected: str | None
    found: str | None
    report: LoadReport | None

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        report: LoadReport | None = None,
    ):
        super().__init__(message)
        self.path = path
        self.report = report
        self.expected = expected
        self.found = found

    def at(self, path: str) -> "SerialiseError":
        """The same error, naming the leaf."""
        return SerialiseError(
            f"Leaf `{path}`: {self.args[0]}", path=path, expected=self.expected, found=self.found
        )


@public
class ShardingError(ValueError):
    """An array cannot be laid out over a mesh as it was asked for.

    - `path`: the path of the array, as [`tree_surgery.path_str`][] writes it.
    - `shape`: its shape.
    - `spec`: what was asked for.
    - `mesh`: the mesh.

    ```python
    import jax.numpy as jnp
    from jax.sharding import AbstractMesh, PartitionSpec as P
    from tree_surgery import ShardingError, tree_shardings

    try:
        tree_shardings({"w": jnp.ones(6)}, [("w", P("data"))], AbstractMesh((4,), ("data",)))
    except ShardingError as error:
        assert error.path == "['w']" and error.shape == (6,)
    ```
    """

    path: str
    shape: tuple[int, ...]
    spec: object
    mesh: object

    def __init__(
        self, message: str, *, path: str, shape: tuple[int, ...], spec: object, mesh: object
    ):
        super().__init__(message)
        self.path = path
        self.shape = shape
        self.spec = spec
        self.mesh = mesh
