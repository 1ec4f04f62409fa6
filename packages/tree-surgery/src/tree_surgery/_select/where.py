"""`where`: the object that makes selectors from patterns, types and predicates."""

from tree_surgery._public import public
from tree_surgery._types import Kind, Predicate

from .selectors import (
    LeafSelector,
    PathSelector,
    Selector,
    SelectorLike,
    TypeSelector,
    as_selector,
)


class Where:
    """`where(x)` is the selector that a pattern, a type or a function of `(path, leaf)` stands for.

    - `where.path(pattern)`: the nodes whose path fits. A pattern is a path as
        [`tree_surgery.path_str`][] writes it, in which keys of dictionaries and indices may be
        dotted too, `*` stands for one step, or for any letters in a name, `**` for any number of
        steps (at the end: for every leaf below), and `[1:3]` for a range of indices. A static field
        of a dataclass is selected by its name, written out. A `None` is selected by an exact path
        only.
    - `where.type(kind, ...)`: the nodes and leaves that are instances.
    - `where.leaf(predicate)`: the leaves for which `predicate(path, leaf)` is true, with the path
        as a string.

    They combine by `|`, `&` and `~`: see [`tree_surgery.Selector`][].

    **Raises:**

    `WhereError` when a selector is used on a tree in which one of its patterns matches nothing,
    which names the nearest paths; `where.path(pattern, optional=True)` may match nothing.

    ```python
    import jax.numpy as jnp
    from tree_surgery import tree_paths, where

    tree = {"layers": [{"w": jnp.ones(2), "b": jnp.ones(1)} for _ in range(3)], "step": 0}
    assert tree_paths(tree, "layers[1:].w") == [
        "['layers'][1]['w']",
        "['layers'][2]['w']",
    ]
    assert tree_paths(tree, where("**.b") | where.type(int)) == [
        "['layers'][0]['b']",
        "['layers'][1]['b']",
        "['layers'][2]['b']",
        "['step']",
    ]
    ```
    """

    def __call__(self, selector: SelectorLike, /) -> Selector:
        return as_selector(selector)

    def path(self, pattern: str, *, optional: bool = False) -> Selector:
        """The nodes whose path fits; unless it is optional, there must be one."""
        return PathSelector(pattern, optional)

    def type(self, *kinds: Kind) -> Selector:
        """The nodes and leaves that are instances of one of these types."""
        return TypeSelector(kinds)

    def leaf(self, predicate: Predicate) -> Selector:
        """The leaves for which `predicate(path, leaf)` is true."""
        return LeafSelector(predicate)


where: Where = public(Where())
