"""The name of a leaf in a file or a state dictionary: its dotted path, as in `layers.0.weight`.

Here is decided how each kind of key is written in a name, and what happens when two leaves would
get the same one. How names are changed on the way is decided in `rename.py`.
"""

import re
from collections import Counter
from typing import Any, NamedTuple

import jax.tree_util as jtu

from tree_surgery._errors import SerialiseError
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._select.path_pattern import index_of
from tree_surgery._training.freeze import Frozen


class NamedLeaves(NamedTuple):
    """The leaves of a tree by name, and what is needed to rebuild the tree from other leaves.

    - `leaves`: by name, in the order of `treedef`. A frozen leaf is here without its `Frozen`.
    - `frozen`: for each of them, whether it was in a `Frozen`.
    """

    leaves: dict[str, Any]
    treedef: Any
    frozen: list[bool]

    def rebuild(self, leaves: dict[str, Any]) -> Any:
        """The tree with other leaves, which must have the same names in the same order."""
        pairs = zip(leaves.values(), self.frozen, strict=True)
        return self.treedef.unflatten(Frozen(x) if frozen else x for x, frozen in pairs)


def name_leaves(tree: Any) -> NamedLeaves:
    """Give each leaf of a tree a name of its own. Freezing a leaf does not change its name.

    Names that stand for several leaves are replaced by `path_str`, which tells apart
    `{"a.b": 1}` and `{"a": {"b": 1}}`.
    """
    # A `Frozen` around a leaf is taken for the leaf: its own key would become a part of the name.
    pairs, treedef = jtu.tree_flatten_with_path(tree, is_leaf=_is_frozen_leaf)
    names = [_dotted(path) for path, _ in pairs]
    times = Counter(names)
    if len(times) < len(names):
        names = [
            name if times[name] == 1 else path_str(path)
            for name, (path, _) in zip(names, pairs, strict=True)
        ]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise SerialiseError(
                f"Two leaves have the same path `{twice[0]}`, so they cannot be told apart by name."
                " Give the children of that node different keys.",
                path=twice[0],
            )
    frozen = [type(leaf) is Frozen for _, leaf in pairs]
    leaves = [leaf.value if type(leaf) is Frozen else leaf for _, leaf in pairs]
    return NamedLeaves(dict(zip(names, leaves, strict=True)), treedef, frozen)


def _is_frozen_leaf(x: Any) -> bool:
    return type(x) is Frozen and jtu.all_leaves([x.value])


def _dotted(path: tuple[Any, ...]) -> str:
    return "".join(_key_text(key) for key in path).removeprefix(".") or "<root>"


def _key_text(key: Any) -> str:
    if isinstance(key, jtu.GetAttrKey):
        return f".{key.name}"
    index = index_of(key)
    if index is not None:
        return f".{index}"
    if isinstance(key, jtu.DictKey):
        plain = type(key.key) is int or (isinstance(key.key, str) and _is_plain(key.key))
        return f".{key.key}" if plain else f"[{key.key!r}]"
    text = str(key)
    return text if text.startswith((".", "[")) else f".{text}"


def _is_plain(key: str) -> bool:
    """Whether a key is written as it is. A dot is: a state dictionary keeps its names."""
    return key.isprintable() and not re.search(r"[\[\]]|^$|^__metadata__$", key)
