"""Edit, compare, check, print and save any JAX PyTree."""

from types import FunctionType as _FunctionType
from typing import Any as _Any
from typing import get_overloads as _get_overloads
from typing import overload as _overload

from ._at import tree_at as tree_at
from ._cast import tree_cast as tree_cast
from ._check import tree_check as tree_check
from ._diff import TreeChange as TreeChange
from ._diff import TreeDiff as TreeDiff
from ._diff import tree_diff as tree_diff
from ._edit import at as at
from ._edit import tree_apply as tree_apply
from ._edit import tree_select as tree_select
from ._edit import tree_set as tree_set
from ._equal import tree_equal as tree_equal
from ._errors import SerialiseError as SerialiseError
from ._errors import WhereError as WhereError
from ._first import Equality as Equality
from ._freeze import Frozen as Frozen
from ._freeze import freeze as freeze
from ._freeze import trainable as trainable
from ._freeze import unfreeze as unfreeze
from ._leaves import SerialisableLeaf as SerialisableLeaf
from ._leaves import default_deserialise_filter_spec as default_deserialise_filter_spec
from ._leaves import default_serialise_filter_spec as default_serialise_filter_spec
from ._load import load as load
from ._load import load_state_dict as load_state_dict
from ._mask import Labels as Labels
from ._mask import tree_labels as tree_labels
from ._mask import tree_mask as tree_mask
from ._one_level import tree_flatten_one_level as tree_flatten_one_level
from ._path import path_str as path_str
from ._paths import tree_paths as tree_paths
from ._peek import FileInfo as FileInfo
from ._peek import peek as peek
from ._pformat import tree_pformat as tree_pformat
from ._pformat import tree_pprint as tree_pprint
from ._replace import tree_replace as tree_replace
from ._report import LoadReport as LoadReport
from ._report import Mismatch as Mismatch
from ._save import save as save
from ._save import tree_fingerprint as tree_fingerprint
from ._selector import Selector as Selector
from ._serialise import tree_deserialise_leaves as tree_deserialise_leaves
from ._serialise import tree_serialise_leaves as tree_serialise_leaves
from ._size import TreeSize as TreeSize
from ._size import tree_size as tree_size
from ._stack import tree_stack as tree_stack
from ._stack import tree_unstack as tree_unstack
from ._state_dict import from_state_dict as from_state_dict
from ._state_dict import to_state_dict as to_state_dict
from ._summary import tree_summary as tree_summary
from ._tie import Tied as Tied
from ._tie import find_shared as find_shared
from ._tie import tie as tie
from ._tie import untie as untie
from ._updates import apply_updates as apply_updates
from ._what import LeafInfo as LeafInfo
from ._where import where as where
from ._wl_custom import TreeWLCustom as TreeWLCustom

__all__ = [
    "Equality",
    "FileInfo",
    "Frozen",
    "Labels",
    "LeafInfo",
    "LoadReport",
    "Mismatch",
    "Selector",
    "SerialisableLeaf",
    "SerialiseError",
    "Tied",
    "TreeChange",
    "TreeDiff",
    "TreeSize",
    "TreeWLCustom",
    "WhereError",
    "apply_updates",
    "at",
    "default_deserialise_filter_spec",
    "default_serialise_filter_spec",
    "find_shared",
    "freeze",
    "from_state_dict",
    "load",
    "load_state_dict",
    "path_str",
    "peek",
    "save",
    "tie",
    "to_state_dict",
    "trainable",
    "tree_apply",
    "tree_at",
    "tree_cast",
    "tree_check",
    "tree_deserialise_leaves",
    "tree_diff",
    "tree_equal",
    "tree_fingerprint",
    "tree_flatten_one_level",
    "tree_labels",
    "tree_mask",
    "tree_paths",
    "tree_pformat",
    "tree_pprint",
    "tree_replace",
    "tree_select",
    "tree_serialise_leaves",
    "tree_set",
    "tree_size",
    "tree_stack",
    "tree_summary",
    "tree_unstack",
    "unfreeze",
    "untie",
    "where",
]


def _publish(names: list[str], namespace: dict[str, _Any]) -> None:
    """`repr` and pickle show where these objects are public, not where they are written."""
    for name in names:
        if isinstance(namespace[name], _FunctionType):
            for variant in _get_overloads(namespace[name]):
                variant.__module__ = __name__
                _overload(variant)  # they are looked up by where the function is
        namespace[name].__module__ = __name__


_publish(__all__, globals())
